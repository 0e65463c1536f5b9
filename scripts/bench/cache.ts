/** `npm run bench:cache`: what the prefix cache and handoffs save. */
import type { LoadResult } from "../../test/worker/fixtures/engine/protocol.ts";
import { startEngineWorker } from "../../test/worker/fixtures/engine/start.ts";
import type { CacheTiming } from "./cache-timing.ts";
import { type HandoffPoint, measureHandoffs } from "./cache-handoff.ts";
import { type BenchModel, smollm2, tiny } from "./models.ts";
import { benchMain, type BenchOptions } from "./options.ts";
import { digits, table } from "./report.ts";
import { median, ratio } from "./rounds.ts";

const HELP = `Usage: npm run bench:cache [-- options]

The edge in workerd: first token of a prompt with a 512-token system prompt, cold and with its blocks in memory; the turns
of a conversation. The embedded origin: a prompt read from its token ids against one resumed from the edge's state, at 64 to
1,024 tokens. --context and --tokens change nothing. Ends with one line of JSON.
`;

const SYSTEM = 512;
const MESSAGE = 16;
const TURNS = 10;
async function edge(model: BenchModel, exits: readonly number[], rounds: number) {
  const worker = await startEngineWorker(model.bundle);
  try {
    await worker.call<LoadResult>("/load", { exits });
    const rows = [];
    for (const exit of exits) {
      const timings: CacheTiming[] = [];
      for (let round = 1; round <= rounds; round++) {
        const options = { exit, system: SYSTEM, message: MESSAGE, turns: TURNS, round };
        timings.push(await worker.call<CacheTiming>("/cache", options));
      }
      const [cold, warm] = [timings.map(({ cold_ms }) => cold_ms), timings.map(({ warm_ms }) => warm_ms)];
      const first = (turn: number) => timings.map(({ turns }) => turns[turn - 1]?.first_token_ms ?? NaN);
      const whole = (turn: number) => timings.map(({ turns }) => turns[turn - 1]?.turn_ms ?? NaN);
      rows.push({
        model: model.name,
        exit,
        cold_ms: median(cold),
        warm_ms: median(warm),
        times_lower: ratio(cold, warm),
        turn_2_ms: median(first(2)),
        turn_10_ms: median(first(TURNS)),
        turn_10_over_2: ratio(first(TURNS), first(2)),
        whole_turn_10_over_2: ratio(whole(TURNS), whole(2)),
      });
    }
    return rows;
  } finally {
    await worker.stop();
  }
}

async function run(options: BenchOptions): Promise<void> {
  const [own, large] = [await tiny(), await smollm2([6, 12, 30], options.keep)];
  const edges = [...(await edge(own, [3, 6], options.rounds)), ...(await edge(large, [6], options.rounds))];
  console.log(
    `${table(
      [
        "model, exit",
        "cold ms",
        "warm ms",
        "times lower",
        "turn 2 ms",
        "turn 10 ms",
        "turn 10 / 2",
        "whole turn 10 / 2",
      ],
      edges.map((row) => [
        `${row.model}, ${row.exit}`,
        ...[row.cold_ms, row.warm_ms, row.times_lower, row.turn_2_ms, row.turn_10_ms].map(digits),
        digits(row.turn_10_over_2),
        digits(row.whole_turn_10_over_2),
      ]),
    )}\n`,
  );
  const handoffs: HandoffPoint[] = [
    ...(await measureHandoffs(own, 3, options.rounds)),
    ...(await measureHandoffs(large, 6, options.rounds)),
  ];
  console.log(
    `${table(
      ["model, from exit", "tokens", "text ms", "handoff ms", "saved ms", "F32 MB", "break-even Mbit/s F32", "F16"],
      handoffs.map((row) => [
        `${row.model}, ${row.exit}`,
        `${row.tokens}`,
        digits(row.text_ms),
        digits(row.handoff_ms),
        digits(row.saved_ms),
        (row.bytes / 1e6).toFixed(2),
        digits(row.break_even_mbit),
        digits(row.break_even_mbit / 2),
      ]),
    )}\n`,
  );
  console.log(JSON.stringify({ bench: "cache", rounds: options.rounds, edge: edges, handoffs }));
}

await benchMain(HELP, run);
