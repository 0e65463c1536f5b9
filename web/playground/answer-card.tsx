/** One answer: its text by token, who gave it and why, how fast, and for how much. */
import type { Signal } from "@preact/signals";
import { saved, tokensByExit, tokensPerSecond, type Answer } from "../client/answer.ts";
import { escalations, readRoute, verdictText } from "../client/route.ts";
import { FailureNote } from "../parts/failure-note.tsx";
import { milliseconds, percent, usd } from "../parts/format.ts";
import { DepthBar } from "./depth-bar.tsx";
import { deployment } from "./state.ts";
import { TokenText } from "./token-text.tsx";

export function AnswerCard({ answer: { value: answer } }: { readonly answer: Signal<Answer> }) {
  const { exit, tier, state, failure } = answer;
  return (
    <article class={`answer state-${state}`} aria-busy={state === "waiting" || state === "streaming"}>
      <header>
        {exit === null ? (
          <span class="fine">{answer.model}</span>
        ) : (
          <>
            <b class="who">
              <span class={`badge tier-${tier}`}>{tier}</span> exit {exit}
            </b>
            {state === "stopped" && <span class="badge">stopped</span>}
            {answer.cache === "hit" && <span class="badge">from the cache</span>}
          </>
        )}
        {deployment.value !== null && <DepthBar deployment={deployment.value} reached={exit} />}
      </header>
      {state === "waiting" && <p class="fine">Reading the prompt…</p>}
      <TokenText answer={answer} />
      {failure !== null && <FailureNote failure={failure} />}
      {answer.route !== null && <Verdict answer={answer} route={answer.route} />}
      <Figures answer={answer} />
    </article>
  );
}

function Verdict({ answer, route }: { readonly answer: Answer; readonly route: string }) {
  const moved = escalations(answer);
  return (
    <div class="verdict">
      <p>{verdictText(route)}</p>
      {moved.map(({ at, to }) => (
        <p key={at} class="moved">
          ↑ Escalated to exit {to} {at === 0 ? "before the first token" : `at token ${at + 1}`}.
        </p>
      ))}
      <ul class="details">
        {readRoute(route).details.map(([name, value]) => (
          <li key={name}>
            {name}
            {value !== "" && <b> {value}</b>}
          </li>
        ))}
      </ul>
    </div>
  );
}

function Figures({ answer }: { readonly answer: Answer }) {
  const speed = tokensPerSecond(answer);
  const share = saved(answer);
  const byExit = tokensByExit(answer).map(([exit, tokens]) => `${tokens} by exit ${exit}`);
  const figures: [string, string | null][] = [
    ["first token", answer.firstTokenMs === null ? null : milliseconds(answer.firstTokenMs)],
    ["tokens/s", speed === null ? null : speed.toFixed(0)],
    ["tokens", byExit.length === 0 ? null : byExit.join(", ")],
    ["cost", answer.costUsd === null ? null : usd(answer.costUsd)],
    ["at the deepest exit", answer.fullDepthCostUsd === null ? null : usd(answer.fullDepthCostUsd)],
    ["saved", share === null ? null : percent(share)],
  ];
  const known = figures.filter(([, value]) => value !== null);
  if (known.length === 0) return null;
  return (
    <dl class="figures">
      {known.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
