/** One job on the loaded engine, as a byte stream that computes a token when it is read. */
import { encodeHandoff } from "../origin/handoff-codec.ts";
import type { GenerationRequest } from "../generation.ts";
import type { Engine } from "../model/engine.ts";
import { generate, type PrefillFeatures, type Verdict } from "../model/generate.ts";
import type { Sequence } from "../model/sequence.ts";
import { scorePrefill } from "../policy/prefill-gate.ts";
import { decideByPrefill } from "../policy/route.ts";
import { encodeFrame, encodeJsonFrame, FRAME_HANDOFF } from "./frames.ts";
import type { EdgeJob } from "./job.ts";

export interface JobHooks {
  /** Called for every token computed. */
  readonly onToken: () => void;
  /** Called once, when nothing more will be computed: finished, failed or cancelled. */
  readonly onEnd: () => void;
}

/** Frames of one job; cancelling the stream stops the compute within one token. */
export function runJob(engine: Engine, job: EdgeJob, signal: AbortSignal, hooks: JobHooks): ReadableStream<Uint8Array> {
  const cancelled = new AbortController();
  let ended = false;
  const end = (): void => {
    if (!ended) hooks.onEnd();
    ended = true;
  };
  const frames = jobFrames(engine, job, AbortSignal.any([signal, cancelled.signal]), hooks.onToken, end);
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
  engine: Engine,
  job: EdgeJob,
  signal: AbortSignal,
  onToken: () => void,
  onEnd: () => void,
): AsyncGenerator<Uint8Array, void> {
  try {
    const sequence = engine.newSequence();
    const gate = createGate(job);
    const events = generate(engine, sequence, job.request, signal, gate.options);
    for (;;) {
      const next = await events.next();
      const verdict = gate.takeVerdict();
      if (verdict) yield encodeJsonFrame(verdict);
      if (next.done) {
        if (next.value.type === "handoff") yield handoffFrame(sequence, job);
        return;
      }
      if (next.value.type === "token") onToken();
      yield encodeJsonFrame(next.value);
    }
  } catch (error) {
    if (!signal.aborted) yield encodeJsonFrame({ type: "failure", message: String(error) });
  } finally {
    onEnd();
  }
}

interface GateVerdict {
  readonly type: "verdict";
  readonly handoff: boolean;
  readonly reason: string;
}

/** Gate 2 as the generate loop asks it; its verdict is taken once. */
function createGate(job: EdgeJob): {
  options: { afterPrefill?: (features: PrefillFeatures) => Verdict };
  takeVerdict: () => GateVerdict | null;
} {
  const gate = job.prefill_gate;
  let pending: GateVerdict | null = null;
  if (gate === null) return { options: {}, takeVerdict: () => null };
  return {
    options: {
      afterPrefill(features) {
        const score = scorePrefill(gate, gate.prompt_score, features.firstToken);
        pending = { type: "verdict", ...decideByPrefill(score, gate.threshold) };
        return pending.handoff ? "handoff" : "continue";
      },
    },
    takeVerdict() {
      const taken = pending;
      pending = null;
      return taken;
    },
  };
}

/** The sequence's state and the request that resumes it at the origin. */
function handoffFrame(sequence: Sequence, job: EdgeJob): Uint8Array {
  const escalateTo = job.prefill_gate?.escalate_to ?? job.request.exit_layer;
  const resumed: GenerationRequest = { ...job.request, exit_layer: escalateTo };
  return encodeFrame(FRAME_HANDOFF, encodeHandoff(sequence.export(job.request.exit_layer), resumed));
}
