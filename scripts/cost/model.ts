/** What a month of prompts costs on Sortie and on GPUs alone. Pure arithmetic over published prices and measured times. */

/** Cloudflare's Workers Paid plan, dollars a month, as published in autumn 2026 (docs/deploy.md names the pages). */
export const PRICES = {
  plan: 5,
  requests: { included: 10e6, perMillion: 0.3 },
  cpuMs: { included: 30e6, perMillion: 0.02 },
  objectRequests: { included: 1e6, perMillion: 0.15 },
  /** GB-seconds; an object is billed for 128 MB whatever it uses. */
  objectDuration: { included: 400e3, perMillion: 12.5 },
  rowsWritten: { included: 50e6, perMillion: 1 },
  dataPoints: { included: 10e6, perMillion: 0.25 },
} as const;
type Meter = keyof Omit<typeof PRICES, "plan">;

const OBJECT_GB = 0.128;
/** Calls a request makes to objects: authenticate, reserve, settle, the shard, the response cache; counters are gathered. */
const OBJECT_REQUESTS = 5;
/** Rows that a reserve and a settle write: hold, usage and its hour, and the hold's end. */
const ROWS_WRITTEN = 4;
const HOURS_A_MONTH = 730;

export interface Workload {
  /** A month. */
  readonly prompts: number;
  readonly promptTokens: number;
  readonly answerTokens: number;
  /** Share of prompts that the edge answers alone, 0 to 1. */
  readonly edgeShare: number;
  /** Milliseconds of the Worker's own CPU a request (npm run bench:gateway). */
  readonly gatewayCpuMs: number;
  /** Tokens a second of the shard (npm run bench:edge). */
  readonly edgePrefill: number;
  readonly edgeDecode: number;
  /** One GPU: dollars an hour, and tokens a second over all requests that it answers at once. */
  readonly gpuUsdHour: number;
  readonly gpuPrefill: number;
  readonly gpuDecode: number;
  /** Share of a GPU's time that may be busy before answers wait, 0 to 1. */
  readonly gpuUse: number;
}

export interface Line {
  readonly what: string;
  readonly amount: number;
  readonly usd: number;
}

export interface Cost {
  readonly platform: readonly Line[];
  /** GPUs that must stand there, for the share that reaches them. */
  readonly gpus: Line;
  readonly usd: number;
}

/** What Sortie costs: the platform, and GPUs for what the edge hands on. */
export function sortieCost(load: Workload): Cost {
  const seconds = load.promptTokens / load.edgePrefill + (load.edgeShare * load.answerTokens) / load.edgeDecode;
  const metered = (what: Meter, amount: number): Line => {
    const { included, perMillion } = PRICES[what];
    return { what, amount, usd: (Math.max(amount - included, 0) / 1e6) * perMillion };
  };
  const platform = [
    { what: "plan", amount: 1, usd: PRICES.plan },
    metered("requests", load.prompts),
    metered("cpuMs", load.prompts * load.gatewayCpuMs),
    metered("objectRequests", load.prompts * OBJECT_REQUESTS),
    metered("objectDuration", load.prompts * seconds * OBJECT_GB),
    metered("rowsWritten", load.prompts * ROWS_WRITTEN),
    metered("dataPoints", load.prompts),
  ];
  return withGpus(platform, gpus(load, 1 - load.edgeShare));
}

/** The same prompts, all on GPUs. */
export const gpuCost = (load: Workload): Cost => withGpus([], gpus(load, 1));

/** At least one GPU stands there for whatever share is not none. */
function gpus(load: Workload, share: number): Line {
  const seconds = load.prompts * share * (load.promptTokens / load.gpuPrefill + load.answerTokens / load.gpuDecode);
  const count = Math.ceil(seconds / (HOURS_A_MONTH * 3600 * load.gpuUse));
  return { what: "GPUs", amount: count, usd: count * load.gpuUsdHour * HOURS_A_MONTH };
}

function withGpus(platform: readonly Line[], line: Line): Cost {
  return { platform, gpus: line, usd: platform.reduce((sum, { usd }) => sum + usd, line.usd) };
}
