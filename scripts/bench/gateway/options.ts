/** Options of `npm run bench:gateway`. */
import { parseArgs } from "node:util";
import { positive } from "../options.ts";

export interface GatewayOptions {
  readonly rounds: number;
  /** Milliseconds that one measurement takes. */
  readonly milliseconds: number;
  /** Whether other gateways are measured beside it. */
  readonly peers: boolean;
}

type Counts = Omit<GatewayOptions, "peers">;

const FULL: Counts = { rounds: 9, milliseconds: 2000 };
const QUICK: Counts = { rounds: 2, milliseconds: 300 };

const OPTIONS_HELP = `  --rounds N         rounds; everything is measured once a round, medians are reported (default ${FULL.rounds})
  --milliseconds N   of one measurement (default ${FULL.milliseconds})
  --no-peers         leave the other gateways out
  --quick            ${QUICK.rounds} rounds of ${QUICK.milliseconds} ms: does it run, not how fast
  --help             this text
`;

/** @returns null after `--help`. @throws Error naming the option at fault. */
export function gatewayOptions(help: string): GatewayOptions | null {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      rounds: { type: "string" },
      milliseconds: { type: "string" },
      peers: { type: "boolean", default: true },
      quick: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${help}\n${OPTIONS_HELP}`);
    return null;
  }
  const base = values.quick ? QUICK : FULL;
  const count = (option: keyof Counts) => positive(option, values[option], base[option]);
  return { rounds: count("rounds"), milliseconds: count("milliseconds"), peers: values.peers };
}
