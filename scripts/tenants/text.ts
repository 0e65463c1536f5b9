/** A tenant and its usage as lines of text. Pure. */
import type { TenantBody, UsageBody } from "../../src/routes/admin-schemas.ts";

type Budget = TenantBody["budgets"][number];

/** `daily: $0.012345 of $1.000000 per day spent, $0.000000 held, resets 2026-11-26T00:00:00.000Z` */
export function describeBudget({ name, period, limit_usd, spent_usd, held_usd, resets_at }: Budget): string {
  const per = period === "none" ? "" : ` per ${period}`;
  const reset = resets_at === null ? "never resets" : `resets ${resets_at}`;
  return `${name}: $${spent_usd} of $${limit_usd}${per} spent, $${held_usd} held, ${reset}`;
}

export function describeTenant(tenant: TenantBody): string {
  const { name, closed_at: closedAt, policy, keys, budgets, running_requests: running } = tenant;
  const { full_depth: price } = policy.prices;
  const keyLines = keys.map((key) => {
    const limits = Object.entries(key.limits).filter(([, value]) => value !== null);
    const parts = [
      key.id,
      JSON.stringify(key.label),
      key.declared ? `declared ${key.secret_sha256_prefix}…` : "made by key create",
      ...(key.expires_at === null ? [] : [`expires ${key.expires_at}`]),
      ...(key.revoked_at === null ? [] : [`revoked ${key.revoked_at}`]),
      ...limits.map(([limit, value]) => `${limit} ${JSON.stringify(value)}`),
    ];
    return `  ${parts.join(", ")}`;
  });
  const rates = Object.entries(policy.rates).map(([rate, value]) => `  ${rate}: ${value ?? "not limited"}`);
  return [
    closedAt === null ? name : `${name}, closed ${closedAt}`,
    `exits: ${policy.exits?.join(", ") ?? "all"}; requests running: ${running}`,
    `micro-dollars per million tokens at full depth: ${price.input} input, ${price.cached_input} cached, ${price.output} output`,
    "budgets:",
    ...(budgets.length === 0
      ? ["  none: spending is not limited"]
      : budgets.map((each) => `  ${describeBudget(each)}`)),
    "rates:",
    ...rates,
    "keys:",
    ...(keyLines.length === 0 ? ["  none"] : keyLines),
  ].join("\n");
}

const HEAD = ["day", "exit", "tier", "requests", "prompt", "cached", "completion", "cost"];

export function describeUsage({ tenant, from, to, total_cost_usd: total, budgets, data }: UsageBody): string {
  const rows = data.map((row) => [
    row.day,
    String(row.exit),
    row.tier,
    String(row.requests),
    String(row.prompt_tokens),
    String(row.cached_tokens),
    String(row.completion_tokens),
    `$${row.cost_usd}`,
  ]);
  const widths = HEAD.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [
    `${tenant}, ${from} to ${to}: $${total}`,
    line(HEAD),
    ...rows.map(line),
    ...budgets.map((budget) => `budget ${describeBudget(budget)}`),
  ].join("\n");
}
