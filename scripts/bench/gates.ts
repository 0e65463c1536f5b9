/** `npm run bench:gates`: what gates 1 and 2 take in workerd. */
import { Miniflare } from "miniflare";
import { builtModules } from "../built-modules.ts";
import { readRows } from "../calibrate/rows.ts";
import { benchMain, type BenchOptions } from "./options.ts";
import { digits, table } from "./report.ts";
import { difference, figures, interleave, type Subject } from "./rounds.ts";

const HELP = `Usage: npm run bench:gates [-- options]

Milliseconds of gate 1 for a prompt of 1 kB, and of gate 2 for one prefill (hidden size 192), in workerd: requests of
many evaluations less requests of few, timed from outside. Ends with one line of JSON.
`;

const ROWS = "models/tiny/test.jsonl";
const KILOBYTE = 1000;
const TEXTS = 200;
/** Rounds over the texts in the longer and the shorter request. */
const MANY = 6;
const FEW = 1;

async function run({ rounds }: BenchOptions): Promise<void> {
  const [main, ...others] = await builtModules("scripts/bench/gates/wrangler.toml");
  if (main === undefined) throw new Error("the Worker did not build");
  const modules = Object.fromEntries([main, ...others].map(({ path, ...module }) => [path, module]));
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    port: 0,
    workers: [
      { config: { name: "gates", compatibilityDate: "2026-11-01", manifest: { mainModule: main.path, modules } } },
    ],
  });
  const texts = kilobytes();
  const timed = async (gate: "prompt" | "prefill", repeats: number): Promise<number> => {
    const body = JSON.stringify({ gate, texts, rounds: repeats });
    const began = performance.now();
    const response = await miniflare.dispatchFetch("http://gates", { method: "POST", body });
    if (!response.ok) throw new Error(await response.text());
    await response.text();
    return performance.now() - began;
  };
  const subject = (gate: "prompt" | "prefill"): Subject => ({
    name: gate,
    measure: async () => ({ many: await timed(gate, MANY), few: await timed(gate, FEW) }),
  });
  for (const gate of ["prompt", "prefill"] as const) await timed(gate, MANY); // V8 compiles
  const results = await interleave([subject("prompt"), subject("prefill")], rounds, () => undefined);
  await miniflare.dispose();
  const each = (gate: string): number =>
    difference(figures(results, gate, "many"), figures(results, gate, "few")) / (texts.length * (MANY - FEW));
  const found = { prompt_ms_per_kilobyte: each("prompt"), prefill_ms: each("prefill") };
  console.log(
    table(
      ["gate", "ms"],
      [
        ["1, prompt of 1 kB", digits(found.prompt_ms_per_kilobyte)],
        ["2, probe of one prefill", digits(found.prefill_ms)],
      ],
    ),
  );
  console.log(JSON.stringify({ bench: "gates", ...found }));
}

/** Test prompts joined to texts of a kilobyte. */
function kilobytes(): string[] {
  const all = readRows(ROWS)
    .map(({ prompt }) => prompt.at(-1)?.content ?? "")
    .join(" ");
  return Array.from({ length: TEXTS }, (_, at) => all.slice(at * KILOBYTE, (at + 1) * KILOBYTE)).filter(
    (text) => text.length === KILOBYTE,
  );
}

await benchMain(HELP, run);
