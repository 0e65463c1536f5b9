/**
 * onnxruntime-web inside workerd: the only file that imports it (and its `.wasm`).
 *
 * workerd refuses to compile WebAssembly from bytes, and onnxruntime only knows bytes. The `.wasm` is therefore imported
 * statically, and while the first session is created `WebAssembly.instantiate(bytes)` is answered with that module.
 */
import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import wasmModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { graphSession, SESSION_OPTIONS } from "./runtime-common.ts";
import type { GraphSession, GraphWeights, Runtime } from "./runtime.ts";

/**
 * V8 compiles WebAssembly a second time, optimised, once a function has run enough: measured 1.2 to 2.2 s of running
 * until decode is four times faster and stays so, the longer the smaller the model.
 */
const WARM_UP_MS = 1_500;

let heap: WebAssembly.Memory | null = null;
let started = false;

/** The runtime of this isolate. Sessions it creates share one WebAssembly memory, which never shrinks. */
export function webRuntime(): Runtime {
  return { name: `onnxruntime-web ${env.versions.web ?? ""}`.trim(), warmUpMs: WARM_UP_MS, holdsWhole: false, create };
}

/** Size of the WebAssembly memory in bytes; 0 before the first session. */
export function wasmHeapBytes(): number {
  return heap?.buffer.byteLength ?? 0;
}

async function create(graph: Uint8Array, weights: readonly GraphWeights[]): Promise<GraphSession> {
  const options: InferenceSession.SessionOptions = {
    ...SESSION_OPTIONS,
    executionProviders: ["wasm"],
    externalData: weights.map(({ path, data }) => ({ path, data })),
    // Prepacking would keep a second, packed copy of the weights in a memory that never shrinks.
    extra: { session: { disable_prepacking: "1" } },
  };
  const open = () => InferenceSession.create(graph, options);
  const session = started ? await open() : await withCompiledModule(open);
  started = true;
  return graphSession(session, Tensor);
}

/** Runs `work` while `WebAssembly.instantiate(bytes)` gives the statically imported module. */
async function withCompiledModule<T>(work: () => Promise<T>): Promise<T> {
  env.wasm.numThreads = 1;
  env.wasm.wasmBinary = new ArrayBuffer(0); // a placeholder: without one onnxruntime would fetch the file
  const original = WebAssembly.instantiate;
  const answer = async (_bytes: BufferSource, imports?: WebAssembly.Imports) => {
    const instance = (await original(wasmModule, imports)) as WebAssembly.Instance;
    heap = memoryOf([instance.exports, ...Object.values(imports ?? {})]);
    return { module: wasmModule, instance };
  };
  Object.assign(WebAssembly, { instantiate: answer });
  try {
    return await work();
  } finally {
    Object.assign(WebAssembly, { instantiate: original });
  }
}

/** The WebAssembly memory, which this build of onnxruntime makes itself and imports. */
function memoryOf(namespaces: readonly object[]): WebAssembly.Memory | null {
  for (const value of namespaces.flatMap((namespace) => Object.values(namespace) as unknown[])) {
    if (value instanceof WebAssembly.Memory) return value;
  }
  return null;
}
