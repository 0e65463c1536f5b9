/** `npm run bench:cache-dtypes`: what smaller blocks and handoffs cost in accuracy. */
import { parseArgs } from "node:util";
import { Conversations } from "../../test/golden/conversations.ts";
import { Comparison } from "../../test/golden/engine-compare.ts";
import { goldenModel } from "../../test/golden/engine-model.ts";
import { positive, runBench } from "./options.ts";
import { table } from "./report.ts";
import { STATE_DTYPES, type StateDtype } from "../../src/state-dtype.ts";

const HELP = `Usage: npm run bench:cache-dtypes [-- --conversations N]

Conversations (default 100) of three turns over both tiers of models/tiny in W8A8, exits and tiers by lot, blocks and handoffs in F32, F16
and I8, against cold runs: tokens that differ, and how much log-probabilities do. Answers have 32 tokens. Ends with one line of JSON.
`;

/** Turns of a conversation, and tokens of an answer: nothing but their number ends it. */
const TURNS = 3;
const TOKENS = 32;
/** Prompts to draw from. */
const PROMPTS = 200;

/** Types of blocks, and of handoffs. */
const PAIRS: readonly (readonly [StateDtype, StateDtype])[] = [
  ...STATE_DTYPES.map((blocks) => [blocks, "F32"] as const),
  ["F32", "F16"],
  ["F32", "I8"],
];

function options(): { conversations: number } | null {
  const { values } = parseArgs({
    options: { conversations: { type: "string" }, help: { type: "boolean", default: false } },
  });
  if (!values.help) return { conversations: positive("conversations", values.conversations, 100) };
  process.stdout.write(HELP);
  return null;
}

async function run({ conversations }: { conversations: number }): Promise<void> {
  const model = await goldenModel("w8a8", PROMPTS);
  if (model === null) throw new Error("there is no models/tiny");
  const engine = await model.load();
  const endless = { ...model, stopTokenIds: [] };
  const rows = [];
  for (const [blocks, handoffs] of PAIRS) {
    const comparison = new Comparison();
    const all = new Conversations(engine, endless, blocks, handoffs, 1);
    for (let at = 0; at < conversations; at++) {
      await all.converse(TURNS, TOKENS, (cold, warm) => comparison.add(cold, warm));
    }
    const { tokens, flips, flipRate, widestFlip, logprobDifference } = comparison;
    const cached = all.cached / all.prompted;
    rows.push({ blocks, handoffs, tokens, flips, flipRate, widestFlip, logprobDifference, cached });
    process.stderr.write(`blocks ${blocks}, handoffs ${handoffs}\n`);
  }
  await engine.dispose();
  console.log(
    table(
      [
        "blocks",
        "handoffs",
        "tokens",
        "flips",
        "%",
        "widest gap of a flip, nats",
        "largest difference of a log-probability",
      ],
      rows.map((row) => [
        row.blocks,
        row.handoffs,
        `${row.tokens}`,
        `${row.flips}`,
        (100 * row.flipRate).toFixed(3),
        row.widestFlip.toFixed(4),
        row.logprobDifference.toExponential(1),
      ]),
    ),
  );
  console.log(JSON.stringify({ bench: "cache-dtypes", conversations, turns: TURNS, answer: TOKENS, rows }));
}

await runBench(options, run);
