/** What is measured: a place that answers a POST, at each concurrency. */
import type { Subject } from "../rounds.ts";
import { cpuMilliseconds } from "./cpu.ts";
import type { LoadProcess } from "./load-process.ts";

/** Connections: a client alone, and as many as keep one thread busy without a queue that hides it. */
export const CONCURRENCIES = [1, 16] as const;
export type Concurrency = (typeof CONCURRENCIES)[number];

const JSON_HEADERS = { "content-type": "application/json" };

export interface Target {
  readonly name: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The server's process; null when it is not known. */
  readonly pid: number | null;
}

/** Measurements' worth of load before the first round: code that V8 has not optimised yet is several times slower. */
const WARM_UP_MEASUREMENTS = 2;

/** Loads a target without measuring it. @param milliseconds of one measurement */
export async function warmUp({ url, headers, body }: Target, load: LoadProcess, milliseconds: number): Promise<void> {
  const concurrency = Math.max(...CONCURRENCIES);
  await load.run({
    url,
    headers: { ...JSON_HEADERS, ...headers },
    body,
    concurrency,
    milliseconds: milliseconds * WARM_UP_MEASUREMENTS,
  });
}

/** Name under which a target is measured. */
export const subjectName = (target: string, concurrency: Concurrency) => `${target} @ ${concurrency}`;

/** A target as subjects of a round. @param milliseconds of one measurement */
export function subjectsOf(target: Target, load: LoadProcess, milliseconds: number): Subject[] {
  const { name, url, body, pid } = target;
  const cpu = () => (pid === null ? null : cpuMilliseconds(pid)) ?? NaN;
  const headers = { ...JSON_HEADERS, ...target.headers };
  return CONCURRENCIES.map((concurrency) => ({
    name: subjectName(name, concurrency),
    measure: async () => {
      const before = cpu();
      const figures = await load.run({ url, headers, body, concurrency, milliseconds });
      return { ...figures, cpu_ms: (cpu() - before) / figures.requests };
    },
  }));
}
