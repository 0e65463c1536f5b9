/** The deployment as a whole: what was answered where, what it saved, how fast, and what went wrong. */
import { milliseconds, percent, usd, whole } from "../parts/format.ts";
import { StackedBars } from "../parts/stacked-bars.tsx";
import { Calibration } from "./calibration.tsx";
import { cacheHitShare, exitBars, savedShare, shares, sum } from "./figures.ts";
import { hours, refresh, traffic } from "./state.ts";

const RANGES: readonly (readonly [number, string])[] = [
  [24, "day"],
  [168, "week"],
  [720, "month"],
];

export function Overview() {
  const seen = traffic.value;
  if (seen === null) return null;
  const { totals, latency } = seen;
  const saved = savedShare(totals);
  const hits = cacheHitShare(totals);
  const refused = totals.requests?.["refused"] ?? 0;
  const failed = totals.requests?.["failed"] ?? 0;
  const tiles: [string, string, string][] = [
    ["Requests", whole(sum(totals.requests)), `${refused} refused, ${failed} failed`],
    [
      "Charged",
      usd((totals.cost?.["charged"] ?? 0) / 1e6),
      saved === null ? "nothing yet" : `${percent(saved)} below the deepest exit`,
    ],
    [
      "First token",
      latency.first_token_ms === null ? "–" : milliseconds(latency.first_token_ms.p50),
      percentiles(latency.first_token_ms),
    ],
    [
      "Per token",
      latency.per_token_ms === null ? "–" : milliseconds(latency.per_token_ms.p50),
      percentiles(latency.per_token_ms),
    ],
    ["From a cache", hits === null ? "–" : percent(hits), cachedTokens(totals.prompt_tokens)],
  ];
  return (
    <section class="panel" aria-labelledby="overview">
      <div class="row">
        <h2 id="overview">The last {RANGES.find(([range]) => range === hours.value)?.[1]}</h2>
        <label class="inline">
          <span class="hidden">Range</span>
          <select
            value={String(hours.value)}
            onChange={(event) => {
              hours.value = Number(event.currentTarget.value);
              void refresh();
            }}
          >
            {RANGES.map(([range, name]) => (
              <option key={range} value={String(range)}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      <dl class="tiles">
        {tiles.map(([name, value, fine]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
            <dd class="fine">{fine}</dd>
          </div>
        ))}
      </dl>
      <StackedBars title="Answers by exit" {...exitBars(seen)} />
      <div class="columns">
        <Shares title="Gates" counts={totals.gates ?? {}} />
        <Shares title="Exits" counts={totals.exits ?? {}} />
        <Shares title="Errors" counts={totals.errors ?? {}} />
      </div>
      <Calibration />
    </section>
  );
}

function percentiles(latency: { p90: number; p99: number } | null): string {
  return latency === null ? "not measured" : `p90 ${milliseconds(latency.p90)}, p99 ${milliseconds(latency.p99)}`;
}

function cachedTokens(prompt: Readonly<Record<string, number>> = {}): string {
  const total = sum(prompt);
  return total === 0 ? "no prompts yet" : `${percent((prompt["cached"] ?? 0) / total)} of prompt tokens`;
}

interface SharesProps {
  readonly title: string;
  readonly counts: Readonly<Record<string, number>>;
}

function Shares({ title, counts }: SharesProps) {
  const rows = shares(counts);
  return (
    <table>
      <caption>{title}</caption>
      <thead>
        <tr>
          <th scope="col">which</th>
          <th scope="col">count</th>
          <th scope="col">share</th>
        </tr>
      </thead>
      <tbody>
        {rows.length === 0 && (
          <tr>
            <td colSpan={3}>none</td>
          </tr>
        )}
        {rows.map(({ label, count, share }) => (
          <tr key={label}>
            <th scope="row">{label}</th>
            <td>{whole(count)}</td>
            <td>{percent(share)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
