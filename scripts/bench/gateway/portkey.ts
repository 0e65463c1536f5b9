/** Portkey's open-source gateway as `npx @portkey-ai/gateway` starts it. It passes requests on; it has no keys or budgets. */
import { join } from "node:path";
import { start } from "../../dev/children.ts";
import { CHAT_PATH } from "./null-upstream.ts";
import { isError, type Peer, peerFolder } from "./peer.ts";

const VERSION = "1.15.2";
const folder = peerFolder("portkey", VERSION);
const program = join(folder, "node_modules/@portkey-ai/gateway/build/start-server.js");
/** The gateway has no option for the address it listens on. */
const PRELOAD = join(import.meta.dirname, "listen-local.ts");

export const portkey: Peer = {
  name: `Portkey gateway ${VERSION}, pass-through`,
  program,
  install: [
    [
      "npm",
      "install",
      "--loglevel=error",
      "--no-audit",
      "--no-fund",
      "--prefix",
      folder,
      `@portkey-ai/gateway@${VERSION}`,
    ],
  ],
  launch(upstream, port) {
    const env = { ...process.env, NODE_ENV: "production", TRUSTED_CUSTOM_HOSTS: "127.0.0.1" };
    const options = ["--import", PRELOAD, program, "--headless", `--port=${port}`];
    const { process: started } = start("portkey", process.execPath, options, env, isError);
    return {
      url: `http://127.0.0.1:${port}${CHAT_PATH}`,
      headers: {
        authorization: "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": `${upstream}/v1`,
      },
      pid: started.pid ?? null,
    };
  },
};
