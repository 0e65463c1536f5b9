/** A Worker's JavaScript heap, read through workerd's inspector: https://chromedevtools.github.io/devtools-protocol/v8/Runtime/ */
import { z } from "zod";

export interface JsHeap {
  /** Bytes of objects. Garbage that is not collected yet counts. */
  readonly objects_bytes: number;
  /** Bytes of array buffers: the blocks' own. */
  readonly buffers_bytes: number;
}

const targetsSchema = z.array(z.object({ id: z.string(), webSocketDebuggerUrl: z.string() }));
const usageSchema = z.object({
  id: z.number(),
  result: z.object({ usedSize: z.number(), backingStorageSize: z.number() }),
});
/** Milliseconds for a collection and the sweeping beside it, and how many are asked for. */
const SWEEP_MS = 400;
const COLLECTIONS = 3;
/** Milliseconds for the inspector's answer: it comes between two requests. */
const TIMEOUT_MS = 20_000;

/** @param inspector its address. @param worker the Worker's name. @throws Error when it does not answer in time */
export async function readJsHeap(inspector: URL, worker: string): Promise<JsHeap> {
  const targets = targetsSchema.parse(await (await fetch(`http://${inspector.host}/json`)).json());
  const target = targets.find(({ id }) => id === `core:user:${worker}`);
  if (target === undefined) throw new Error(`the inspector knows no Worker ${worker}`);
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  try {
    return await usage(socket);
  } finally {
    socket.close();
  }
}

function usage(socket: WebSocket): Promise<JsHeap> {
  const { promise, resolve, reject } = Promise.withResolvers<JsHeap>();
  const late = setTimeout(() => reject(new Error("the inspector did not answer")), TIMEOUT_MS);
  socket.addEventListener("error", () => reject(new Error("the inspector cannot be reached")));
  socket.addEventListener("open", async () => {
    for (let at = 0; at < COLLECTIONS; at++) {
      socket.send(JSON.stringify({ id: 1, method: "HeapProfiler.collectGarbage" })); // workerd does not say whether it does
      await new Promise((swept) => setTimeout(swept, SWEEP_MS));
    }
    socket.send(JSON.stringify({ id: 2, method: "Runtime.getHeapUsage" }));
  });
  socket.addEventListener("message", ({ data }) => {
    const answer = usageSchema.safeParse(JSON.parse(String(data)));
    if (!answer.success || answer.data.id !== 2) return;
    const { usedSize, backingStorageSize } = answer.data.result;
    resolve({ objects_bytes: usedSize, buffers_bytes: backingStorageSize });
  });
  return promise.finally(() => clearTimeout(late));
}
