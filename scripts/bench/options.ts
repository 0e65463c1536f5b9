/** Options of the engine's benchmarks, and how every benchmark runs. */
import { inspect, parseArgs } from "node:util";

export interface BenchOptions {
  readonly rounds: number;
  /** Tokens of the prompt. */
  readonly context: number;
  /** Tokens decoded a round. */
  readonly tokens: number;
  /** Whether bundles that an earlier run exported are taken as they are. */
  readonly keep: boolean;
}

type Counts = Omit<BenchOptions, "keep">;

const FULL: Counts = { rounds: 9, context: 128, tokens: 32 };
const QUICK: Counts = { rounds: 2, context: 64, tokens: 4 };

const OPTIONS_HELP = `  --rounds N    rounds; everything is measured once a round, medians are reported (default ${FULL.rounds})
  --context N   tokens of the prompt (default ${FULL.context})
  --tokens N    tokens decoded a round (default ${FULL.tokens})
  --quick       ${QUICK.rounds} rounds, ${QUICK.context} and ${QUICK.tokens} tokens: does it run, not how fast
  --keep        take the bundles of SmolLM2's shape that an earlier run exported (same exporter only)
  --help        this text
`;

/** @returns null after `--help`. @throws Error naming the option at fault. */
function benchOptions(help: string): BenchOptions | null {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      context: { type: "string" },
      tokens: { type: "string" },
      quick: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${help}\n${OPTIONS_HELP}`);
    return null;
  }
  const base = values.quick ? QUICK : FULL;
  const count = (option: keyof Counts) => positive(option, values[option], base[option]);
  return { rounds: count("rounds"), context: count("context"), tokens: count("tokens"), keep: values.keep };
}

/** A count from the command line. @throws Error naming the option */
export function positive(option: string, given: string | undefined, otherwise: number): number {
  const number = given === undefined ? otherwise : Number(given);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${option}: not a positive integer`);
  return number;
}

/** Runs a benchmark of the engine. */
export function benchMain(help: string, run: (options: BenchOptions) => Promise<void>): Promise<void> {
  return runBench(() => benchOptions(help), run);
}

/** Runs a benchmark with options of its own (null: nothing to do); an error ends it with status 1 and its stack. */
export async function runBench<T>(read: () => T | null, run: (options: T) => Promise<void>): Promise<void> {
  try {
    const options = read();
    if (options !== null) await run(options);
  } catch (error) {
    process.stderr.write(`bench: ${inspect(error)}\n`);
    process.exitCode = 1;
  }
}
