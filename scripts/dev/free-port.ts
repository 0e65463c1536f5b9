/** A port of this computer that nothing listens on. */
import { once } from "node:events";
import { createServer } from "node:net";

/** @throws Error when the system gives none */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("no free port");
  return address.port;
}
