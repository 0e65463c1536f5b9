/** One job on the loaded engine, as a byte stream that computes a token when it is read. */
import { encodeHandoff } from "../origin/handoff-codec.ts";
import { addSpent, afterPart, type GenerationRequest } from "../generation.ts";
import type { generate } from "../model/generate.ts";
import type { Sequence } from "../model/sequence.ts";
import { encodeFrame, encodeJsonFrame, FRAME_HANDOFF } from "./frames.ts";
import { JobGates, type Step } from "./job-gates.ts";
import type { EdgeJob, EdgeVerdict, Spent } from "./job.ts";
import type { LoadedExit } from "./loaded-exit.ts";

type Generate = (...args: Parameters<typeof generate>) => ReturnType<typeof generate>;

export interface JobHooks {
  /** `generate`, with a cache around it. */
  readonly generate: Generate;
  /** Called before a request goes on at the origin, with what it is then. */
  readonly onHandoff: (request: GenerationRequest) => void;
  /** Called for every token computed. */
  readonly onToken: () => void;
  /** Called once, when nothing more will be computed: finished, failed or cancelled. */
  readonly onEnd: () => void;
}

/** Frames of one job; cancelling the stream stops the compute within one token. */
export function runJob(
  loaded: LoadedExit,
  job: EdgeJob,
  signal: AbortSignal,
  hooks: JobHooks,
): ReadableStream<Uint8Array> {
  const cancelled = new AbortController();
  let ended = false;
  const end = (): void => {
    if (!ended) hooks.onEnd();
    ended = true;
  };
  const frames = jobFrames(loaded, job, AbortSignal.any([signal, cancelled.signal]), { ...hooks, onEnd: end });
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await frames.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel(reason) {
        cancelled.abort(reason);
        await frames.return();
        end(); // a generator that was never started skips its `finally`
      },
    },
    // Nothing is computed ahead of the reader: a client that is gone is seen within one token.
    { highWaterMark: 0 },
  );
}

async function* jobFrames(
  { engine, router }: LoadedExit,
  job: EdgeJob,
  signal: AbortSignal,
  hooks: JobHooks,
): AsyncGenerator<Uint8Array, void> {
  try {
    const sequence = engine.newSequence();
    const gates =
      job.gates === null || router === null ? null : new JobGates(job.request.request_id, job.gates, router);
    let spent: Spent | null = null;
    for (let request = job.request; ;) {
      const before: Spent | null = spent;
      const events = hooks.generate(engine, sequence, request, signal, gates?.at(request.exit_layer));
      let next = await events.next();
      for (; next.done !== true; next = await events.next()) {
        const settled = gates?.takeSettled();
        if (settled) yield verdictFrame(settled, null);
        if (next.value.type === "token") hooks.onToken();
        yield encodeJsonFrame(before ? afterPart(before, next.value) : next.value);
      }
      if (next.value.type === "end") return;
      spent = before ? addSpent(before, next.value) : next.value;
      const step = gates?.step;
      if (!step) throw new Error("a handoff that no gate asked for");
      const reached = request.exit_layer;
      request = goingOn(request, sequence, step.exit);
      const here = engine.exits.includes(step.exit);
      const settled = gates?.takeSettled();
      if (settled) yield verdictFrame(settled, here ? null : spent);
      if (here) continue;
      hooks.onHandoff(request);
      yield encodeFrame(FRAME_HANDOFF, encodeHandoff(sequence.export(reached), request));
      return;
    }
  } catch (error) {
    if (!signal.aborted) yield encodeJsonFrame({ type: "failure", message: String(error) });
  } finally {
    hooks.onEnd();
  }
}

/** The rest of a request at another exit: what the sequence holds beyond its tokens was said already. */
function goingOn(request: GenerationRequest, sequence: Sequence, exit: number): GenerationRequest {
  const said = sequence.length - request.token_ids.length;
  return {
    ...request,
    token_ids: sequence.tokenIds,
    answer_tokens: request.answer_tokens + said,
    max_tokens: request.max_tokens - said,
    exit_layer: exit,
  };
}

function verdictFrame({ exit, reason }: Step, spent: Spent | null): Uint8Array {
  const handoff = spent && { usage: spent.usage, timings: spent.timings };
  return encodeJsonFrame({ type: "verdict", exit, reason, handoff } satisfies EdgeVerdict);
}
