/** A closed loop of requests over kept connections: each connection sends its next request when its answer is whole. */
import { Agent, request } from "node:http";

export interface Load {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent by POST. */
  readonly body: string;
  /** Connections. */
  readonly concurrency: number;
  /** Milliseconds that are measured. */
  readonly milliseconds: number;
}

/** A type, not an interface: its figures are those of a `Subject`. */
export type LoadFigures = {
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly per_s: number;
  /** All that were answered, the unmeasured ones too. */
  readonly requests: number;
};

/** Share of a measurement that is run before it, unmeasured: connections open, caches and branch predictors settle. */
const WARM_UP_SHARE = 0.2;
const MS_PER_SECOND = 1000;

/** @throws Error at the first answer that is no 200, with its text: refusals are not a speed. */
export async function runLoad(load: Load): Promise<LoadFigures> {
  const agent = new Agent({ keepAlive: true, maxSockets: load.concurrency });
  try {
    const before = await loop(agent, load, load.milliseconds * WARM_UP_SHARE);
    const started = performance.now();
    const took = await loop(agent, load, load.milliseconds);
    const seconds = (performance.now() - started) / MS_PER_SECOND;
    const sorted = Float64Array.from(took).sort();
    return {
      p50_ms: percentile(sorted, 0.5),
      p99_ms: percentile(sorted, 0.99),
      per_s: took.length / seconds,
      requests: before.length + took.length,
    };
  } finally {
    agent.destroy();
  }
}

/** Milliseconds of every request begun within `milliseconds`. */
async function loop(agent: Agent, load: Load, milliseconds: number): Promise<number[]> {
  const until = performance.now() + milliseconds;
  const took: number[] = [];
  const connection = async (): Promise<void> => {
    while (performance.now() < until) took.push(await once(agent, load));
  };
  await Promise.all(Array.from({ length: load.concurrency }, connection));
  return took;
}

/** Sends one request and reads its whole answer. @returns milliseconds */
function once(agent: Agent, { url, headers, body }: Load): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const length = String(Buffer.byteLength(body));
    const outgoing = request(url, { agent, method: "POST", headers: { ...headers, "content-length": length } });
    outgoing.once("error", reject);
    outgoing.once("response", (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.once("error", reject);
      incoming.once("end", () => {
        const took = performance.now() - started;
        if (incoming.statusCode === 200) resolve(took);
        else reject(new Error(`${url} answered ${incoming.statusCode}: ${Buffer.concat(chunks).toString()}`));
      });
    });
    outgoing.end(body);
  });
}

/** Nearest rank. @param sorted ascending, at least one value. */
export function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
