/** The Durable Object that holds the edge's exits: one shard of the pool. */
import { DurableObject } from "cloudflare:workers";
import { type Cached, cachedGenerate } from "../cache/cached-generation.ts";
import type { PrefixCache } from "../cache/prefix-cache.ts";
import { settings, type Env } from "../env.ts";
import { type GenerationRequest, generationRequestSchema, type TokenEvent } from "../generation.ts";
import { log } from "../log.ts";
import type { GenerationOutcome } from "../model/generate.ts";
import { encodeHandoff } from "../origin/handoff-codec.ts";
import { count } from "../telemetry/traffic-client.ts";
import { Admission } from "./admission.ts";
import { blockCounts } from "./block-counts.ts";
import { CHECKPOINT_HEADER, GENERATE_PATH, SPARED_HEADER, STATUS_PATH, STORED_PATH } from "./exit-protocol.ts";
import { edgeJobSchema, type EdgeJob, type EdgeRefusal, type EdgeStatus } from "./job.ts";
import { currentEngine, loadedExit } from "./loaded-exit.ts";
import { originBlocks } from "./origin-blocks.ts";
import { runJob, type JobHooks } from "./run-job.ts";
import { currentCache, originHolds, shardArchive, shardCache, shardLink, takeEvicted } from "./shard-cache.ts";
import { storedState } from "./stored-state.ts";

export class EdgeExit extends DurableObject<Env> {
  readonly #admission = new Admission();
  #decodedTokens = 0;

  /** The paths of exit-protocol.ts; called by the Worker only. */
  override async fetch(request: Request): Promise<Response> {
    switch (new URL(request.url).pathname) {
      case STATUS_PATH:
        return Response.json(this.#status());
      case STORED_PATH:
        return stored(generationRequestSchema.parse(await request.json()));
      case GENERATE_PATH:
        return this.#generate(edgeJobSchema.parse(await request.json()), request);
      default:
        return new Response(null, { status: 404 });
    }
  }

  /** The shard's cache, and where blocks may be that it has not computed: R2, then the origin. */
  #cached(cache: PrefixCache): Cached {
    const { bundle } = cache;
    const { origin, handoffs: mode } = settings(this.env);
    const archive = shardArchive(this.env);
    const onUse: Cached["onUse"] = (use) => {
      if (this.env.TRAFFIC) this.ctx.waitUntil(count(this.env.TRAFFIC, blockCounts(use, takeEvicted())));
    };
    const behind =
      origin === null ? [] : [originBlocks({ ...origin, bundle, mode, link: shardLink, holds: originHolds })];
    if (archive === null) return { cache, sources: behind, onUse };
    const onMet: Cached["onMet"] = (keys, blocks) => {
      const written = blocks.map((held, at) => archive.write(cache, keys, bundle.exits[at] ?? 0, held));
      this.ctx.waitUntil(Promise.all(written));
    };
    return { cache, sources: [archive, ...behind], onMet, onUse };
  }

  #status(): EdgeStatus {
    const engine = currentEngine();
    return {
      loaded: engine !== null,
      exits: engine === null ? [] : [...engine.exits],
      active: this.#admission.active,
      waiting: this.#admission.waiting,
      decoded_tokens: this.#decodedTokens,
    };
  }

  async #generate(job: EdgeJob, { headers, signal }: Request): Promise<Response> {
    const release = await this.#admission.enter(signal);
    if (release === null) return refuse({ reason: "edge-full", message: "every place and the queue are taken" });
    try {
      const loaded = await loadedExit(this.env);
      const { fingerprint } = loaded.engine.bundle;
      const wanted = headers.get(CHECKPOINT_HEADER);
      if (fingerprint !== wanted) throw new Error(`the checkpoint here is ${fingerprint}, ${wanted} is wanted`);
      const counted = () => {
        this.#decodedTokens += 1;
      };
      const cache = shardCache(loaded.engine.bundle, settings(this.env));
      const hooks: JobHooks = {
        generate: (on, ...rest) => measured(cachedGenerate(on, this.#cached(cache), ...rest), rest[1].exit_layer),
        onToken: counted,
        onHandoff: (request) => this.ctx.waitUntil(noteHandoff(cache, request)),
        onEnd: release,
      };
      return new Response(runJob(loaded, job, signal, hooks));
    } catch (error) {
      release();
      log("edge.load_failed", { request_id: job.request.request_id, error: String(error) });
      return refuse({ reason: "edge-unavailable", message: "the edge exit could not be loaded" });
    }
  }
}

/** What it computed of its prompt tells the shard its own speed: by it blocks are fetched, or computed. */
async function* measured(
  events: AsyncGenerator<TokenEvent, GenerationOutcome>,
  exit: number,
): AsyncGenerator<TokenEvent, GenerationOutcome> {
  const outcome = yield* events;
  const { usage, timings } = outcome;
  shardLink.computed((usage.prompt_tokens - usage.cached_tokens) * exit, timings.prefill_ms);
  return outcome;
}

/** The origin will have the blocks of what it goes on with. */
async function noteHandoff(cache: PrefixCache, { token_ids: ids, cache: owner }: GenerationRequest): Promise<void> {
  if (owner !== undefined) originHolds.note(await cache.keys(ids, owner));
}

/** Of a shard that has not computed anything, nothing: it is not worth loading it. */
async function stored(request: GenerationRequest): Promise<Response> {
  const cache = currentCache();
  const state = cache === null ? null : await storedState(cache, originHolds, request);
  if (state === null) return new Response(null, { status: 204 });
  const headers = { [SPARED_HEADER]: String(state.spared) };
  return new Response(encodeHandoff(state.handoff, request), { headers });
}

function refuse(refusal: EdgeRefusal): Response {
  return Response.json(refusal, { status: 503 });
}
