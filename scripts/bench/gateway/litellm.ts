/**
 * LiteLLM's proxy with a master key: its lightest way of having a key at all. Its virtual keys and budgets need
 * Postgres behind a query engine that is fetched from outside the package registries, so they are not measured.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { start } from "../../dev/children.ts";
import { CHAT_PATH } from "./null-upstream.ts";
import { isError, type Peer, peerFolder } from "./peer.ts";

const VERSION = "1.108.7";
const folder = peerFolder("litellm", VERSION);
const program = join(folder, "bin/litellm");
const MASTER_KEY = "sk-bench-master-key";
/** A model whose price it knows: costing an unknown one is an exception a request. */
const PRICED_AS = "openai/gpt-4o-mini";

/** @param model the name that requests ask for */
export const litellm = (model: string): Peer => ({
  name: `LiteLLM proxy ${VERSION}, master key`,
  program,
  install: [
    ["python3", "-m", "venv", "--clear", folder],
    [join(folder, "bin/pip"), "install", "--quiet", `litellm[proxy]==${VERSION}`],
  ],
  launch(upstream, port) {
    const config = join(folder, "bench.json"); // JSON is YAML
    const upstreamModel = { model: PRICED_AS, api_base: `${upstream}/v1`, api_key: "none" };
    const settings = {
      model_list: [{ model_name: model, litellm_params: upstreamModel }],
      general_settings: { master_key: MASTER_KEY },
    };
    writeFileSync(config, JSON.stringify(settings));
    // No look at the network at start, and no line a request.
    const env = { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_LOG: "ERROR" };
    const options = ["--config", config, "--host", "127.0.0.1", "--port", String(port), "--telemetry", "False"];
    const { process: started } = start("litellm", program, options, env, isError);
    return {
      url: `http://127.0.0.1:${port}${CHAT_PATH}`,
      headers: { authorization: `Bearer ${MASTER_KEY}` },
      pid: started.pid ?? null,
    };
  },
});
