/** What went wrong and what to do, for the person in front of it. */
import type { Failure } from "../client/failure.ts";
import { instant, usd } from "./format.ts";

export function FailureNote({ failure }: { readonly failure: Failure }) {
  const { title, detail, budget, retryAfter, requestId } = failure;
  return (
    <div class={`note failure failure-${failure.kind}`} role="alert">
      <strong>{title}</strong>
      {detail !== "" && <p>{detail}</p>}
      {budget !== null && (
        <p>
          {usd(budget.spent_usd)} of {usd(budget.limit_usd)} in budget “{budget.name}”.{" "}
          {budget.resets_at === null ? "It does not reset." : `It resets ${instant(budget.resets_at)}.`}
        </p>
      )}
      {retryAfter !== null && <p>Try again in {retryAfter} s.</p>}
      {requestId !== null && <p class="fine">Request {requestId}</p>}
    </div>
  );
}
