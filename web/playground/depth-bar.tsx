/** The network's exits in a row, filled as far as an answer went: the edge's in one colour, the origin's in another. */
import type { Health } from "../client/wire.ts";

interface Props {
  readonly deployment: Health;
  /** null: not decided. */
  readonly reached: number | null;
}

export function DepthBar({ deployment: { exits, edge_exits: edge }, reached }: Props) {
  const deepest = exits.at(-1) ?? 1;
  const told = reached === null ? "not decided yet" : `${reached} of ${deepest} layers`;
  return (
    <span class="depth" role="img" aria-label={`Depth: ${told}`}>
      {exits.map((exit) => (
        <span
          key={exit}
          class={`segment tier-${edge.includes(exit) ? "edge" : "origin"} ${reached !== null && exit <= reached ? "run" : ""}`}
        >
          {exit}
        </span>
      ))}
    </span>
  );
}
