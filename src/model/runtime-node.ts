/** onnxruntime-node. Its `run()` blocks the thread it is called on: servers use it through `node-client.ts`. */
import type { Runtime } from "./runtime.ts";

export interface NodeRuntimeOptions {
  /** Threads a single operator may use; default: one a core. */
  readonly threads?: number;
}

export function nodeRuntime(options: NodeRuntimeOptions = {}): Runtime {
  throw new Error(`not written yet: ${options.threads}`);
}
