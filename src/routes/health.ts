/** `GET /healthz`: what is served, and which tiers can serve it. Open to everyone, so it says nothing else. */
import { Hono } from "hono";
import type { Health } from "../api/catalogue-answer.ts";
import type { ChatDeps } from "../chat-deps.ts";
import { exitsAtEdge } from "../env.ts";
import type { AppEnv, Flow } from "./context.ts";

/** A tier that takes longer to say that it is there is not there. */
const PROBE_TIMEOUT_MS = 2_000;

export function health({ chatDeps }: Flow): Hono<AppEnv> {
  return new Hono<AppEnv>().get("/", async (c) => {
    const deps = await chatDeps(c.env, c.req.raw);
    const [edge, origin] = await Promise.all([edgeState(deps), originState(deps)]);
    const { bundle, router } = deps.catalogue;
    const serving = edge !== null || origin === "reachable";
    const body: Health = {
      status: serving ? "ok" : "unavailable",
      model: bundle.name,
      fingerprint: bundle.fingerprint,
      numerics: bundle.numerics,
      exits: [...bundle.exits],
      edge_exits: exitsAtEdge(deps.settings, bundle.exits),
      calibrated: router !== null,
      edge: edge ?? "unreachable",
      origin,
    };
    return c.json(body, serving ? 200 : 503);
  });
}

async function edgeState({ edge }: ChatDeps) {
  try {
    const { loaded, active, waiting, decoded_tokens } = await before(edge.status());
    return { loaded, active, waiting, decoded_tokens };
  } catch {
    return null;
  }
}

async function originState({ origin, catalogue }: ChatDeps): Promise<Health["origin"]> {
  if (origin === null) return "absent";
  try {
    const info = await origin.info(AbortSignal.timeout(PROBE_TIMEOUT_MS));
    return info.fingerprint === catalogue.bundle.fingerprint ? "reachable" : "foreign";
  } catch {
    return "unreachable";
  }
}

/** @throws Error when the probe takes too long */
async function before<T>(probe: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), PROBE_TIMEOUT_MS);
  });
  try {
    return await Promise.race([probe, late]);
  } finally {
    clearTimeout(timer);
  }
}
