/** The Durable Object that holds the edge's exits: one shard of the pool. */
import { DurableObject } from "cloudflare:workers";
import { settings, type Env } from "../env.ts";
import { log } from "../log.ts";
import { Admission } from "./admission.ts";
import { edgeJobSchema, type EdgeJob, type EdgeRefusal, type EdgeStatus } from "./job.ts";
import { currentEngine, loadedExit } from "./loaded-exit.ts";
import { runJob } from "./run-job.ts";

export class EdgeExit extends DurableObject<Env> {
  readonly #admission = new Admission();
  #decodedTokens = 0;

  /** `GET /status`, `POST /generate` with an {@link EdgeJob}; called by the Worker only. */
  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/status") return Response.json(this.#status());
    return this.#generate(edgeJobSchema.parse(await request.json()), request.signal);
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

  async #generate(job: EdgeJob, signal: AbortSignal): Promise<Response> {
    const release = await this.#admission.enter(signal);
    if (release === null) return refuse({ reason: "edge-full", message: "every place and the queue are taken" });
    try {
      const loaded = await loadedExit(this.env.ASSETS, settings(this.env).edgeExits);
      const counted = () => {
        this.#decodedTokens += 1;
      };
      return new Response(runJob(loaded, job, signal, { onToken: counted, onEnd: release }));
    } catch (error) {
      release();
      log("edge.load_failed", { request_id: job.request.request_id, error: String(error) });
      return refuse({ reason: "edge-unavailable", message: "the edge exit could not be loaded" });
    }
  }
}

function refuse(refusal: EdgeRefusal): Response {
  return Response.json(refusal, { status: 503 });
}
