/** onnxruntime-node. Its `run()` blocks the thread it is called on: servers use it through `node-client.ts`. */
import { env, InferenceSession, Tensor } from "onnxruntime-node";
import { graphSession, SESSION_OPTIONS } from "./runtime-common.ts";
import type { GraphWeights, Runtime } from "./runtime.ts";

export interface NodeRuntimeOptions {
  /** Threads a single operator may use; default: one a core. */
  readonly threads?: number;
}

export function nodeRuntime(options: NodeRuntimeOptions = {}): Runtime {
  return {
    name: `onnxruntime-node ${env.versions.node ?? ""}`.trim(),
    warmUpMs: 0,
    holdsWhole: true,
    async create(graph: Uint8Array, weights: readonly GraphWeights[]) {
      const session = await InferenceSession.create(graph, {
        ...SESSION_OPTIONS,
        executionProviders: ["cpu"],
        externalData: weights.map(({ path, data }) => ({ path, data })),
        ...(options.threads === undefined ? {} : { intraOpNumThreads: options.threads }),
        // Threads wait for the next operator awake, but not for the next run: idle ones would take the core from
        // everything else in the process. While awake they look up to 16 pauses apart: looking at every pause slows the
        // thread that works.
        extra: {
          session: { intra_op: { allow_spinning: "1", spin_backoff_max: "16" }, force_spinning_stop: "1" },
        },
      });
      return graphSession(session, Tensor);
    },
  };
}
