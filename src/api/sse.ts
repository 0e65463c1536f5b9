/** Server-sent events as OpenAI's clients read them. */

/** Proxies cut streams that are silent for 30 s: half of it. */
export const PING_INTERVAL_MS = 15_000;

/** The last frame of an answer that is whole. */
export const DONE_FRAME = "data: [DONE]\n\n";
/** A comment: clients skip it. */
export const PING_FRAME = ": ping\n\n";

/** One event. JSON has no raw line breaks, so it is one `data:` line. */
export function dataFrame(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export const SSE_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  /** Asks proxies not to gather events. */
  "x-accel-buffering": "no",
} as const;

export interface EventStreamOptions {
  /** Called once when the reader is gone before the end. */
  readonly onCancel: (reason: unknown) => void;
  readonly pingIntervalMs?: number;
}

/**
 * Frames as a response body. A frame is asked for only when the body is read, so nothing is made ahead of the reader,
 * and pings fill a read that waits. A cancelled body ends the frames.
 */
export function eventStream(
  frames: AsyncGenerator<string, void>,
  { onCancel, pingIntervalMs = PING_INTERVAL_MS }: EventStreamOptions,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let next: Promise<IteratorResult<string, void>> | null = null; // asked for, not delivered yet
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        next ??= frames.next();
        const result = await within(next, pingIntervalMs);
        if (result === null) return controller.enqueue(encoder.encode(PING_FRAME));
        next = null;
        if (result.done === true) controller.close();
        else controller.enqueue(encoder.encode(result.value));
      },
      async cancel(reason) {
        onCancel(reason);
        await frames.return();
      },
    },
    { highWaterMark: 0 },
  );
}

/** A promise's value, or null when it takes longer. */
async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
