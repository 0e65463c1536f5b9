/** A tenant that sends one request again and again, in a process of its own: neither server nor probe share its loop. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import type { Socket } from "node:net";

interface Attack {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  /** Connections, each with one request at a time. */
  readonly concurrency: number;
}

/** Answers by status, in all. */
export type Statuses = Readonly<Record<string, number>>;

export interface AttackProcess {
  start(attack: Attack): void;
  /** Ends the attack. */
  stop(): Promise<Statuses>;
  end(): void;
}

export function startAttackProcess(): AttackProcess {
  const child: ChildProcess = fork(import.meta.filename, { stdio: "inherit", serialization: "advanced" });
  return {
    start: (attack) => void child.send(attack),
    async stop() {
      const message = once(child, "message");
      child.send("stop");
      const [statuses] = (await message) as [Statuses];
      return statuses;
    },
    end: () => void child.kill(),
  };
}

/** Sends one request and reads its answer. @returns its status, or why there is none */
function send(agent: Agent, { url, headers, body }: Attack): Promise<string> {
  return new Promise((resolve) => {
    const length = String(Buffer.byteLength(body));
    const outgoing = request(url, { agent, method: "POST", headers: { ...headers, "content-length": length } });
    outgoing.once("error", (error) => resolve(error.message));
    outgoing.once("response", (incoming) => {
      incoming.resume();
      incoming.once("end", () => resolve(String(incoming.statusCode)));
      incoming.once("error", (error) => resolve(error.message));
    });
    outgoing.end(body);
  });
}

if (import.meta.main) {
  let current: { readonly agent: Agent; readonly statuses: Record<string, number> } | null = null;
  process.on("message", (message: Attack | "stop") => {
    if (message === "stop") {
      process.send?.(current?.statuses ?? {});
      // A reset, not an end: the runtime goes on with requests whose client has merely closed its side.
      for (const socket of Object.values(current?.agent.sockets ?? {}).flat()) (socket as Socket).resetAndDestroy();
      current?.agent.destroy();
      current = null;
      return;
    }
    const mine = {
      agent: new Agent({ keepAlive: true, maxSockets: message.concurrency }),
      statuses: {} as Record<string, number>,
    };
    current = mine;
    const connection = async (): Promise<void> => {
      while (current === mine) {
        const status = await send(mine.agent, message);
        mine.statuses[status] = (mine.statuses[status] ?? 0) + 1;
      }
    };
    for (let each = 0; each < message.concurrency; each++) void connection();
  });
}
