/** Preloaded into a program that would listen on every address and has no option for it: it listens on this computer's. */
import { Server } from "node:net";

const LOCAL = "127.0.0.1";

// oxlint-disable-next-line typescript/unbound-method -- called with the server as `this`
const listen = Server.prototype.listen as (this: Server, ...rest: unknown[]) => Server;

Server.prototype.listen = function (this: Server, port?: unknown, host?: unknown, ...rest: unknown[]): Server {
  if (typeof port !== "number") return listen.call(this, port, host, ...rest);
  if (typeof host === "function") return listen.call(this, port, LOCAL, host, ...rest);
  return listen.call(this, port, host ?? LOCAL, ...rest);
};
