/** The Worker's entry: the app around the flow, and the Durable Object classes. */
import { createApp } from "./app.ts";
import { chat, chatDeps } from "./chat.ts";

export { EdgeExit } from "./edge/exit-object.ts";

export default createApp({ chat, chatDeps });
