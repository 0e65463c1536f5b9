/** What both runtimes do with onnxruntime-common's sessions. */
import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-common";
import type { GraphSession, GraphTensor, GraphTensors } from "./runtime.ts";

/**
 * Options both runtimes share. Arena and memory pattern are off: they keep the largest chunk's buffers forever, which a
 * 128 MB isolate cannot afford.
 */
export const SESSION_OPTIONS = {
  graphOptimizationLevel: "all",
  executionMode: "sequential",
  enableCpuMemArena: false,
  enableMemPattern: false,
  logSeverityLevel: 3,
} as const satisfies InferenceSession.SessionOptions;

/** An onnxruntime session as the engine sees it. */
export function graphSession(session: InferenceSession, tensorOf: TensorConstructor): GraphSession {
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    tensor(data, dims) {
      if (data instanceof Float32Array) return new tensorOf("float32", data, dims);
      return data instanceof Uint8Array ? new tensorOf("bool", data, dims) : new tensorOf("int64", data, dims);
    },
    async run(inputs: GraphTensors, wanted: readonly string[] = session.outputNames): Promise<GraphTensors> {
      const results = await session.run(inputs as Record<string, Tensor>, wanted); // `tensor` made them
      const outputs: Record<string, GraphTensor> = {};
      for (const [name, { data, dims }] of Object.entries(results)) {
        if (!(data instanceof Float32Array)) throw new TypeError(`output ${name} is not float32`);
        outputs[name] = { data, dims };
      }
      return outputs;
    },
    dispose: () => session.release(),
  };
}
