/** Options of `npm run bench:tokenizer`. */
import { parseArgs } from "node:util";
import { positive } from "./options.ts";

export interface TokenizerOptions {
  /** Characters of each text. */
  readonly chars: number;
  readonly rounds: number;
}

const FULL: TokenizerOptions = { chars: 100_000, rounds: 5 };
const QUICK: TokenizerOptions = { chars: 10_000, rounds: 2 };

const OPTIONS_HELP = `  --chars N    characters of each text (default ${FULL.chars})
  --rounds N   rounds; medians are reported (default ${FULL.rounds})
  --quick      ${QUICK.rounds} rounds of ${QUICK.chars} characters: does it run, not how fast
  --help       this text
`;

/** @returns null after `--help`. @throws Error naming the option at fault. */
export function tokenizerOptions(help: string): TokenizerOptions | null {
  const { values } = parseArgs({
    options: {
      chars: { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${help}\n${OPTIONS_HELP}`);
    return null;
  }
  const base = values.quick ? QUICK : FULL;
  return { chars: positive("chars", values.chars, base.chars), rounds: positive("rounds", values.rounds, base.rounds) };
}
