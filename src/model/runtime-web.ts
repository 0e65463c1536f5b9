/** onnxruntime-web inside workerd. The only file that imports it (and its `.wasm`). */
import type { Runtime } from "./runtime.ts";

/** The runtime of this isolate. Sessions it creates share one WebAssembly memory, which never shrinks. */
export function webRuntime(): Runtime {
  throw new Error("not written yet");
}

/** Size of the WebAssembly memory in bytes; 0 before the first session. */
export function wasmHeapBytes(): number {
  return 0;
}
