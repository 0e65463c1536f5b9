/** The Worker's way to the traffic object: counters of an isolate are gathered for a moment and sent together. */
import { describeError, log } from "../log.ts";
import { summed, type Count } from "./counters.ts";
import { TRAFFIC_NAME, type TrafficApi } from "./traffic-object.ts";

/** An object takes some hundred calls a second; an isolate makes one a second, whatever its load. */
const GATHER_MS = 1_000;

let gathered: Count[] = [];
let sending: Promise<void> | null = null;

export function trafficObject(namespace: DurableObjectNamespace): TrafficApi {
  return namespace.get(namespace.idFromName(TRAFFIC_NAME)) as unknown as TrafficApi;
}

/**
 * Counts what one request did. Never fails: counters that are lost are not worth an answer.
 * @returns when it is sent; the request's context must live that long
 */
export function count(namespace: DurableObjectNamespace, counts: readonly Count[]): Promise<void> {
  gathered.push(...counts);
  sending ??= send(namespace);
  return sending;
}

async function send(namespace: DurableObjectNamespace): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
  const counts = summed(gathered);
  gathered = [];
  sending = null;
  try {
    await trafficObject(namespace).add(counts);
  } catch (error) {
    log("traffic.lost", { error: describeError(error) }, "warn");
  }
}
