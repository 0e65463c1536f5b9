/** What a gateway in this runtime costs at least: routes that do nothing, or one thing. */
import { Hono } from "hono";

interface Env {
  /** Address of the null upstream. */
  readonly UPSTREAM: string;
}

const ANSWER = { object: "chat.completion", choices: [] };

export default new Hono<{ Bindings: Env }>()
  .post("/bare", (c) => c.json(ANSWER))
  /** A gateway that only passes on. */
  .post("/relay", async (c) => {
    const body = await c.req.raw.arrayBuffer();
    return fetch(`${c.env.UPSTREAM}/v1/chat/completions`, { method: "POST", body });
  });
