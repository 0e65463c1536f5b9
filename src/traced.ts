/** The tiers' clients with a span around what they do. What they answer stays as it is. */
import type { EdgeClient, EdgeOutcome } from "./edge/client.ts";
import { closing } from "./iteration.ts";
import type { OriginClient } from "./origin/client.ts";
import { openSpan, withOpenSpan, type OpenSpan } from "./telemetry/span.ts";

/** `edge`, with `prefill` until the shard's first event and `decode` from then on. */
export function tracedEdge(client: EdgeClient): EdgeClient {
  return {
    status: () => client.status(),
    stored: (request, signal) =>
      withOpenSpan("stored", { "sortie.tier": "edge" }, async (span) => {
        try {
          return await client.stored(request, signal);
        } finally {
          span.end();
        }
      }),
    run: (job, signal): Promise<EdgeOutcome> =>
      withOpenSpan<Promise<EdgeOutcome>>(
        "edge",
        { "sortie.exit": job.request.exit_layer, "sortie.tier": "edge" },
        async (span) => {
          const phases = phasesOf(span, "prefill");
          try {
            const outcome = await client.run(job, signal);
            if (outcome.ok) return { ok: true, events: followed(outcome.events, phases) };
            phases.end(outcome.reason);
            return outcome;
          } catch (error) {
            phases.end(String(error));
            throw error;
          }
        },
      ),
  };
}

/** `origin`, with `handoff` or `prefill` until its first event and `decode` from then on. */
export function tracedOrigin(client: OriginClient): OriginClient {
  return {
    info: (signal) => client.info(signal),
    generate(request, handoff, signal, spared) {
      const attributes = {
        "sortie.exit": request.exit_layer,
        "sortie.tier": "origin",
        "sortie.handoff.positions": handoff?.positions,
      };
      return withOpenSpan("origin", attributes, async (span) => {
        const phases = phasesOf(span, handoff === null ? "prefill" : "handoff");
        try {
          return followed(await client.generate(request, handoff, signal, spared), phases);
        } catch (error) {
          phases.end(String(error));
          throw error;
        }
      });
    },
  };
}

/** A tier's span and the phase it is in. */
interface Phases {
  /** The first event is there. */
  next(): void;
  set: OpenSpan["set"];
  end(error?: string): void;
}

function phasesOf(span: OpenSpan, first: string): Phases {
  let phase = openSpan(first);
  return {
    next() {
      phase.end();
      phase = openSpan("decode");
    },
    set: (attributes) => span.set(attributes),
    end(error) {
      phase.end(error);
      span.end(error);
    },
  };
}

interface TierEvent {
  readonly type: string;
  readonly reason?: string;
}

/** Passes events on; the spans end with them. */
function followed<T extends TierEvent>(events: AsyncIterable<T>, phases: Phases): AsyncIterable<T> {
  const source = events[Symbol.asyncIterator]();
  async function* passOn(): AsyncGenerator<T, void> {
    let first = true;
    try {
      for await (const event of { [Symbol.asyncIterator]: () => source }) {
        if (first) phases.next();
        first = false;
        if (event.type === "verdict") phases.set({ "sortie.gate.verdict": event.reason });
        yield event;
      }
      phases.end();
    } catch (error) {
      phases.end(String(error));
      throw error;
    }
  }
  return closing(passOn(), async () => {
    await source.return?.();
    phases.end();
  });
}
