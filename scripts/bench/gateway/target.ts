/** What is measured: a place that answers a POST, at each concurrency. */
import type { Subject } from "../rounds.ts";
import type { LoadProcess } from "./load-process.ts";

/** Connections: a client alone, and as many as keep one thread busy without a queue that hides it. */
export const CONCURRENCIES = [1, 16] as const;
export type Concurrency = (typeof CONCURRENCIES)[number];

export interface Target {
  readonly name: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Name under which a target is measured. */
export const subjectName = (target: string, concurrency: Concurrency) => `${target} @ ${concurrency}`;

/** A target as subjects of a round. @param milliseconds of one measurement */
export function subjectsOf(target: Target, load: LoadProcess, milliseconds: number): Subject[] {
  const { name, url, body } = target;
  const headers = { "content-type": "application/json", ...target.headers };
  return CONCURRENCIES.map((concurrency) => ({
    name: subjectName(name, concurrency),
    measure: () => load.run({ url, headers, body, concurrency, milliseconds }),
  }));
}
