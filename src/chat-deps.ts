/** What the flow works with: the deployment's parts, made of its environment. */
import { createResponseClient, type ResponseClient } from "./cache/response-client.ts";
import { loadCatalogue, type Catalogue } from "./catalogue.ts";
import { createEdgeClient, type EdgeClient } from "./edge/client.ts";
import { settings, type Env, type Settings } from "./env.ts";
import { log } from "./log.ts";
import { withOpenaiExits } from "./openai-exits.ts";
import { createOriginClient, type OriginClient } from "./origin/client.ts";
import { handoffTarget } from "./origin/handoff-codec.ts";
import { LinkMeter } from "./origin/transfer.ts";
import { traceparent } from "./telemetry/span.ts";
import { TierHealth } from "./tier-health.ts";
import { tracedEdge, tracedOrigin } from "./traced.ts";
import { Turns } from "./turns.ts";

/** What one request's flow may use. */
export interface ChatDeps {
  readonly settings: Settings;
  readonly catalogue: Catalogue;
  readonly edge: EdgeClient;
  /** null when no origin is configured: the edge answers alone. */
  readonly origin: OriginClient | null;
  readonly health: TierHealth;
  /** null: every answer is computed. */
  readonly responses: ResponseClient | null;
  /** In which prompts are read. */
  readonly turns: Turns;
}

/** How tenants share this isolate's time. */
export const turns = new Turns();

/** What this isolate has seen of the tiers. */
const health = new TierHealth();

/** What this isolate has seen of its link to the origin. */
const link = new LinkMeter();

/** The deployment's parts for one request; the catalogue is loaded once an isolate. */
export async function chatDeps(env: Env, request: Request): Promise<ChatDeps> {
  const catalogue = await loadCatalogue(env);
  const { bundle } = catalogue;
  const config = settings(env);
  if (config.fingerprint !== null && config.fingerprint !== bundle.fingerprint) {
    throw new Error(
      `configuration: FINGERPRINT is ${config.fingerprint}, the bundle is ${bundle.name} ${bundle.fingerprint}: deploy the one that is meant`,
    );
  }
  const edgeClient = createEdgeClient({
    namespace: env.EDGE_EXIT,
    shards: config.edgeShards,
    location: typeof request.cf?.colo === "string" ? request.cf.colo : "local",
    target: handoffTarget(bundle, bundle.exits),
  });
  const sorted =
    config.origin === null
      ? null
      : createOriginClient({
          ...config.origin,
          fingerprint: bundle.fingerprint,
          answering: { vocabulary: bundle.shape.vocab_size, exits: bundle.exits },
          link,
          handoffs: config.handoffs,
          wire: { dtype: config.handoffDtype, kvHeads: bundle.shape.kv_heads },
          onHandoffDecided: (decision, inputs) => log("handoff.decided", { ...decision, ...inputs }),
          traceparent,
        });
  const client = withOpenaiExits(sorted, config.openaiExits, catalogue);
  const origin = client === null ? null : tracedOrigin(client);
  const responses = createResponseClient({ namespace: env.RESPONSES, ttlMs: config.responseTtlMs });
  return { settings: config, catalogue, edge: tracedEdge(edgeClient), origin, health, responses, turns };
}
