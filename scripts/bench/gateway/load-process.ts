/** Makes load in a process of its own, so that neither a server nor the benchmark shares its event loop. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { type Load, type LoadFigures, runLoad } from "./load.ts";

type Answer = { readonly figures: LoadFigures } | { readonly error: string };

export interface LoadProcess {
  /** One load at a time. @throws as `runLoad` */
  run(load: Load): Promise<LoadFigures>;
  stop(): Promise<void>;
}

export function startLoadProcess(): LoadProcess {
  const child = fork(import.meta.filename, { stdio: "inherit" });
  return {
    async run(load) {
      const answer = firstOf(child);
      child.send(load);
      const message = await answer;
      if ("error" in message) throw new Error(message.error);
      return message.figures;
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill();
      await exited;
    },
  };
}

/** The next message. @throws Error when the process ends instead */
function firstOf(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`the load process ended with code ${code}`));
    child.once("exit", ended);
    child.once("message", (message) => {
      child.off("exit", ended);
      resolve(message as Answer);
    });
  });
}

if (import.meta.main) {
  process.on("message", (load: Load) => {
    runLoad(load).then(
      (figures) => process.send?.({ figures } satisfies Answer),
      (error: unknown) => process.send?.({ error: String(error) } satisfies Answer),
    );
  });
}
