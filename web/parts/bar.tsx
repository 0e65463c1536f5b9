/** A budget's bar: spent, held, and what is left. */
import type { BudgetBody } from "../client/wire.ts";
import { instant, usd } from "./format.ts";

export function BudgetBar({ budget }: { readonly budget: BudgetBody }) {
  const limit = Number(budget.limit_usd);
  const share = (dollars: string): number => (limit === 0 ? 1 : Math.min(Number(dollars) / limit, 1));
  const spent = share(budget.spent_usd);
  const held = Math.min(share(budget.held_usd), 1 - spent);
  const told =
    `${usd(budget.spent_usd)} spent, ${usd(budget.held_usd)} held of ${usd(budget.limit_usd)}` +
    (budget.period === "none" ? "" : ` per ${budget.period}`);
  return (
    <div class="budget">
      <div class="bar" role="img" aria-label={`Budget ${budget.name}: ${told}`}>
        <span class="spent" style={{ width: `${spent * 100}%` }} />
        <span class="held" style={{ width: `${held * 100}%` }} />
      </div>
      <p class="fine">
        <b>{budget.name}</b> {told}
        {budget.resets_at !== null && <>, resets {instant(budget.resets_at)}</>}
      </p>
    </div>
  );
}
