/** `npm run bench:cache`: what the prefix cache and handoffs save, and what smaller blocks cost. */
import { goldenModel } from "../../test/golden/engine-model.ts";
import { Comparison } from "../../test/golden/engine-compare.ts";
import { Conversations } from "../../test/golden/conversations.ts";
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
1,024 tokens. Conversations over both tiers with blocks and handoffs in F32, F16 and I8 against cold runs. --context and
--tokens change nothing. Ends with one line of JSON.
`;

const SYSTEM = 512;
const MESSAGE = 16;
const TURNS = 10;
/** Conversations a pair of types. */
const CONVERSATIONS = 100;
/** Turns of one, and tokens of an answer: nothing but their number ends it. */
const STORED = { turns: 3, tokens: 32 };
/** Types of blocks, and of handoffs. */
const PAIRS = [
  ["F32", "F32"],
  ["F16", "F32"],
  ["I8", "F32"],
  ["F32", "F16"],
  ["F32", "I8"],
] as const;

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

async function dtypes(conversations: number) {
  const model = await goldenModel("w8a8", 200);
  if (model === null) return [];
  const engine = await model.load();
  const endless = { ...model, stopTokenIds: [] };
  const rows = [];
  for (const [blocks, handoffs] of PAIRS) {
    const comparison = new Comparison();
    const run = new Conversations(engine, endless, blocks, handoffs, 1);
    for (let at = 0; at < conversations; at++) {
      await run.converse(STORED.turns, STORED.tokens, (cold, warm) => comparison.add(cold, warm));
    }
    const { tokens, flips, widestFlip, logprobDifference } = comparison;
    const measured = { tokens, flips, widest_flip: widestFlip, logprob_difference: logprobDifference };
    rows.push({ blocks, handoffs, conversations, ...measured });
  }
  await engine.dispose();
  return rows;
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
  const stored = await dtypes(options.rounds < 3 ? 3 : CONVERSATIONS);
  console.log(
    `${table(
      [
        "blocks",
        "handoffs",
        "tokens",
        "flips",
        "widest gap of a flip, nats",
        "largest difference of a log-probability",
      ],
      stored.map((row) => [
        row.blocks,
        row.handoffs,
        `${row.tokens}`,
        `${row.flips}`,
        row.widest_flip.toFixed(4),
        row.logprob_difference.toExponential(1),
      ]),
    )}\n`,
  );
  console.log(JSON.stringify({ bench: "cache", rounds: options.rounds, edge: edges, handoffs, stored }));
}

await benchMain(HELP, run);
