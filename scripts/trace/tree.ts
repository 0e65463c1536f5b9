/** The tree of one escalated request: what it must look like, and how it looks. Pure. */
import type { Span } from "./receiver.ts";

/** A prompt of models/tiny's world that gate 2 finds hard: the edge reads it, the origin answers. */
export const ESCALATED_PROMPT =
  "B points to D, D points to K, K points to T, T points to B. Start at B, take three steps. Where are you?";

const ROOT = "POST /v1/chat/completions";
/** A span's name, and the names that its parent may have. */
const PARENTS: readonly (readonly [string, readonly string[] | null])[] = [
  ["authenticate", null],
  ["reserve", null],
  ["gate.prompt", null],
  ["edge", ["chat"]],
  ["prefill", null],
  ["origin", ["chat"]],
  ["handoff", ["origin"]],
  ["generate", ["origin", "fetch"]],
  ["decode", null],
];

/** Spans of the request whose answer span names it; empty until that one has come. */
export function spansOf(spans: readonly Span[], requestId: string): Span[] {
  const answer = spans.find(({ attributes }) => attributes["sortie.request_id"] === requestId);
  return answer === undefined ? [] : spans.filter(({ traceId }) => traceId === answer.traceId);
}

/** What is wrong with an escalated request's trace; nothing: it is one tree across both tiers. */
export function faults(tree: readonly Span[]): string[] {
  const byId = new Map(tree.map((span) => [span.spanId, span]));
  const roots = tree.filter(({ parentSpanId }) => !byId.has(parentSpanId)).map(({ name }) => name);
  const wrong = roots.length === 1 && roots[0] === ROOT ? [] : [`roots: ${roots.join(", ") || "none"}`];
  const services = new Set(tree.map(({ service }) => service));
  if (services.size < 2) wrong.push(`only of ${[...services].join() || "nobody"}`);
  for (const [name, parents] of PARENTS) {
    const found = tree.filter((span) => span.name === name);
    if (found.length === 0) wrong.push(`no span ${name}`);
    for (const { parentSpanId } of parents === null ? [] : found) {
      const parent = byId.get(parentSpanId)?.name.split(" ")[0] ?? "nothing";
      if (!parents?.includes(parent)) wrong.push(`${name} lies in ${parent}`);
    }
  }
  return wrong;
}

/** The tree as indented lines: service, name, milliseconds. */
export function drawn(tree: readonly Span[]): string {
  const ids = new Set(tree.map(({ spanId }) => spanId));
  const draw = (span: Span, depth: number): string[] => {
    const ms = span.endTimeUnixNano - span.startTimeUnixNano;
    const children = tree
      .filter(({ parentSpanId }) => parentSpanId === span.spanId)
      .toSorted((a, b) => a.startTimeUnixNano - b.startTimeUnixNano);
    const line = `${"  ".repeat(depth)}${span.name} (${span.service}, ${ms.toFixed(0)} ms)`;
    return [line, ...children.flatMap((child) => draw(child, depth + 1))];
  };
  return tree
    .filter(({ parentSpanId }) => !ids.has(parentSpanId))
    .flatMap((root) => draw(root, 0))
    .join("\n");
}
