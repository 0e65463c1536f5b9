/** One short answer at every exit, so that the first visitor does not pay for loading and compiling. */
import type { Bundle } from "../../src/model/bundle.ts";

/** Loading the edge exit in a cold runtime takes seconds; a minute means it failed. */
const TIMEOUT_MS = 60_000;

/**
 * Asks the running Worker for one token at each exit.
 * @throws Error with the Worker's answer when one fails
 */
export async function warmUp(url: string, key: string, bundle: Bundle): Promise<void> {
  for (const exit of bundle.exits) {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model: `${bundle.name}:exit-${exit}`,
        messages: [{ role: "user", content: "Hello" }],
        max_tokens: 1,
      }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const body = await response.text();
    if (!response.ok) throw new Error(`exit ${exit} did not answer: ${response.status} ${body}`);
  }
}
