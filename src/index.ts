/** The Worker's entry: the app around the flow, and the Durable Object classes. */
import { createApp } from "./app.ts";
import { chat } from "./chat.ts";
import { chatDeps, turns } from "./chat-deps.ts";
import { createTenants } from "./tenant/client.ts";

export { ResponseCache } from "./cache/response-object.ts";
export { EdgeExit } from "./edge/exit-object.ts";
export { TenantDirectory } from "./tenant/directory-object.ts";
export { Traffic } from "./telemetry/traffic-object.ts";
export { TenantLedger } from "./tenant/tenant-object.ts";

export default createApp({ chat, chatDeps, tenants: createTenants, turns });
