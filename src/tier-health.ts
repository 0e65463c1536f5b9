/** What the isolate has seen of the tiers a moment ago, as an input of the next decision. */
import type { EdgeRefusal } from "./edge/job.ts";
import type { OriginErrorKind } from "./origin/origin-error.ts";
import type { Circumstances } from "./policy/route.ts";

/** Milliseconds an origin that did not answer is left alone; then one request tries it again. */
const ORIGIN_REST_MS = 5_000;
/** Milliseconds a full pool is left alone: about one short answer. */
const EDGE_FULL_MS = 500;
/** Milliseconds until an exit that could not be loaded is tried again: one cold load. */
const EDGE_UNAVAILABLE_MS = 5_000;

/** Failures that say something of the next request, too. */
const LASTING: ReadonlySet<OriginErrorKind> = new Set<OriginErrorKind>(["unreachable", "timeout", "overloaded"]);

export class TierHealth {
  #originRestsUntil = 0;
  #edge: Exclude<Circumstances["edge"], "ready"> = "full";
  #edgeRestsUntil = 0;

  /** @param now milliseconds since 1970 */
  view(now: number): Pick<Circumstances, "origin" | "edge"> {
    return {
      origin: now < this.#originRestsUntil ? "down" : "ready",
      edge: now < this.#edgeRestsUntil ? this.#edge : "ready",
    };
  }

  originAnswered(): void {
    this.#originRestsUntil = 0;
  }

  originFailed(kind: OriginErrorKind, now: number): void {
    if (LASTING.has(kind)) this.#originRestsUntil = now + ORIGIN_REST_MS;
  }

  edgeAnswered(): void {
    this.#edgeRestsUntil = 0;
  }

  edgeRefused(reason: EdgeRefusal["reason"], now: number): void {
    this.#edge = reason === "edge-full" ? "full" : "unavailable";
    this.#edgeRestsUntil = now + (reason === "edge-full" ? EDGE_FULL_MS : EDGE_UNAVAILABLE_MS);
  }
}
