/** Options of `npm run bench:stall`. */
import { parseArgs } from "node:util";
import { positive } from "../options.ts";

export interface StallOptions {
  readonly rounds: number;
  /** Milliseconds that each bomb is sent in a round. */
  readonly milliseconds: number;
  /** Part of the names of the bombs that are sent; null: all. */
  readonly only: string | null;
}

const FULL = { rounds: 5, milliseconds: 2_000 };
const QUICK = { rounds: 1, milliseconds: 600 };

const OPTIONS_HELP = `  --rounds N         rounds; every bomb is sent once a round (default ${FULL.rounds})
  --milliseconds N   of each bomb in a round, and of the quiet before it (default ${FULL.milliseconds})
  --only TEXT        bombs whose name has this in it
  --quick            ${QUICK.rounds} round of ${QUICK.milliseconds} ms: does it run, not how fast
  --help             this text
`;

/** @returns null after `--help`. @throws Error naming the option at fault. */
export function stallOptions(help: string): StallOptions | null {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      milliseconds: { type: "string" },
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${help}\n${OPTIONS_HELP}`);
    return null;
  }
  const base = values.quick ? QUICK : FULL;
  return {
    rounds: positive("rounds", values.rounds, base.rounds),
    milliseconds: positive("milliseconds", values.milliseconds, base.milliseconds),
    only: values.only ?? null,
  };
}
