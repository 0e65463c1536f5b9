/** Small requests at a steady rate, and when the first byte of each answer came. */
import { Agent, request } from "node:http";

export interface Small {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent by POST; null: a GET. */
  readonly body: string | null;
}

/**
 * Sends requests in turn, one every `everyMs`, whether earlier ones were answered or not: a server that stalls is
 * asked all the same.
 * @returns milliseconds to the first byte of each
 * @throws Error when one is not answered with 200
 */
export async function firstBytes(small: readonly Small[], everyMs: number, milliseconds: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true });
  const count = Math.floor(milliseconds / everyMs);
  const started = performance.now();
  const answers: Promise<number>[] = [];
  try {
    for (let at = 0; at < count; at++) {
      const wait = started + at * everyMs - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const one = small[at % small.length];
      if (one !== undefined) answers.push(firstByte(agent, one));
    }
    return await Promise.all(answers);
  } finally {
    agent.destroy();
  }
}

function firstByte(agent: Agent, { url, headers, body }: Small): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const outgoing = request(url, { agent, method: body === null ? "GET" : "POST", headers });
    outgoing.once("error", reject);
    outgoing.once("response", (incoming) => {
      incoming.once("data", () => {
        if (incoming.statusCode === 200) resolve(performance.now() - started);
        else reject(new Error(`${url} answered ${incoming.statusCode}`));
        incoming.resume();
      });
      incoming.once("error", reject);
    });
    outgoing.end(body ?? undefined);
  });
}
