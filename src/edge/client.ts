/** The Worker's client of the pool of edge exits. */
import { affinityOf } from "../affinity.ts";
import type { GenerationRequest } from "../generation.ts";
import { log } from "../log.ts";
import type { HandoffTarget } from "../origin/handoff-codec.ts";
import { decodeHandoff } from "../origin/handoff-codec.ts";
import { CHECKPOINT_HEADER, GENERATE_PATH, SPARED_HEADER, STATUS_PATH, STORED_PATH } from "./exit-protocol.ts";
import { decodeJsonFrame, FRAME_HANDOFF, readFrames } from "./frames.ts";
import {
  edgeJsonEventSchema,
  edgeRefusalSchema,
  edgeStatusSchema,
  type EdgeEvent,
  type EdgeJob,
  type EdgeRefusal,
  type EdgeStatus,
} from "./job.ts";
import type { StoredState } from "./stored-state.ts";

/** Host of requests to a shard; never resolved. */
const SHARD_ORIGIN = "https://edge-exit.local";
/** Milliseconds for stored state: beyond, the origin has read a prompt of some hundred tokens. */
const STORED_TIMEOUT_MS = 500;

/** What became of a job: a stream of events, or a refusal with its reason. */
export type EdgeOutcome =
  | { readonly ok: true; readonly events: AsyncIterable<EdgeEvent> }
  | ({ readonly ok: false } & EdgeRefusal);

export interface EdgeClient {
  /** Ending the iteration of the events early stops the compute. @throws the signal's reason */
  run(job: EdgeJob, signal: AbortSignal): Promise<EdgeOutcome>;
  /** What the conversation's shard holds of a prompt that goes to the origin; null: nothing that helps. @throws the signal's reason, nothing else */
  stored(request: GenerationRequest, signal: AbortSignal): Promise<StoredState | null>;
  /** State of one shard of the pool. */
  status(): Promise<EdgeStatus>;
}

export interface EdgePool {
  readonly namespace: DurableObjectNamespace;
  /** Objects a location. */
  readonly shards: number;
  /** The Cloudflare location that serves the request: an exit far away is no edge exit. */
  readonly location: string;
  /** What a handoff of this deployment looks like. */
  readonly target: HandoffTarget;
}

export function createEdgeClient(pool: EdgePool): EdgeClient {
  const shard = (index: number): DurableObjectStub =>
    pool.namespace.get(pool.namespace.idFromName(shardName(pool.location, pool.target.fingerprint, index)));
  return {
    async run(job, signal) {
      const stub = shard(shardOf(job.request.token_ids, pool.shards));
      let response: Response;
      try {
        response = await stub.fetch(SHARD_ORIGIN + GENERATE_PATH, {
          method: "POST",
          headers: { [CHECKPOINT_HEADER]: pool.target.fingerprint },
          body: JSON.stringify(job),
          signal,
        });
      } catch (error) {
        signal.throwIfAborted();
        return { ok: false, reason: "edge-unavailable", message: String(error) };
      }
      if (response.status === 503) return { ok: false, ...edgeRefusalSchema.parse(await response.json()) };
      if (!response.ok || response.body === null) {
        return { ok: false, reason: "edge-unavailable", message: `the edge exit answered ${response.status}` };
      }
      return { ok: true, events: edgeEvents(response.body, pool.target) };
    },
    async stored(request, signal) {
      const stub = shard(shardOf(request.token_ids, pool.shards));
      try {
        const response = await stub.fetch(SHARD_ORIGIN + STORED_PATH, {
          method: "POST",
          body: JSON.stringify(request),
          signal: AbortSignal.any([signal, AbortSignal.timeout(STORED_TIMEOUT_MS)]),
        });
        if (response.status !== 200) return null;
        const body = new Uint8Array(await response.arrayBuffer());
        const spared = Number(response.headers.get(SPARED_HEADER));
        return { handoff: decodeHandoff(body, pool.target).handoff, spared };
      } catch (error) {
        signal.throwIfAborted();
        log("edge.not_stored", { request_id: request.request_id, error: String(error) }, "warn");
        return null;
      }
    },
    async status() {
      return edgeStatusSchema.parse(await (await shard(0).fetch(SHARD_ORIGIN + STATUS_PATH)).json());
    },
  };
}

/** The name of a shard's object: a new checkpoint has objects of its own, which start with the code deployed last. */
export const shardName = (location: string, fingerprint: string, index: number): string =>
  `${location}/${fingerprint}/${index}`;

/** The same beginning reaches the same shard, where its kvCache is. */
export const shardOf = (tokenIds: readonly number[], shards: number): number => affinityOf(tokenIds) % shards;

async function* edgeEvents(body: ReadableStream<Uint8Array>, target: HandoffTarget): AsyncGenerator<EdgeEvent, void> {
  for await (const frame of readFrames(body)) {
    if (frame.kind === FRAME_HANDOFF) {
      yield { type: "handoff", handoff: decodeHandoff(frame.payload, target).handoff };
      return;
    }
    const event = edgeJsonEventSchema.parse(decodeJsonFrame(frame));
    if (event.type === "failure") throw new Error(`edge exit failed: ${event.message}`);
    yield event;
  }
}
