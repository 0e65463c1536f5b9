#!/usr/bin/env node
/** `npx sortie`: every command of the project under one name. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");

interface Command {
  readonly script: string;
  readonly does: string;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  dev: { script: "dev.ts", does: "the whole system on this computer" },
  chat: { script: "sortie/chat.ts", does: "talk to a deployment; every answer says its tier, exit and cost" },
  doctor: { script: "sortie/doctor.ts", does: "check this computer, the bundle, the Worker and the origin" },
  export: { script: "export.ts", does: "safetensors → bundle of graphs" },
  calibrate: { script: "calibrate.ts", does: "what each exit gets right → router.json" },
  eval: { script: "eval.ts", does: "exact match and NLL of a bundle" },
  tenants: { script: "tenants.ts", does: "tenants, keys, budgets, usage" },
  upload: { script: "upload.ts", does: "weights to R2, for a deployment without them" },
  cost: { script: "cost.ts", does: "what a deployment costs, beside an all-GPU one" },
  "bench edge": { script: "bench/edge.ts", does: "the engine in workerd" },
  "bench origin": { script: "bench/origin.ts", does: "the engine in Node" },
  "bench gateway": { script: "bench/gateway.ts", does: "what the gateway adds to a request" },
  "bench pages": { script: "bench/pages.ts", does: "weight and speed of the pages in Chromium" },
};

const HELP = `npx sortie COMMAND [options]

${Object.entries(COMMANDS)
  .map(([name, { does }]) => `  ${name.padEnd(15)}${does}`)
  .join("\n")}

  npx sortie COMMAND --help   options of one command`;

const [first = "--help", second, ...rest] = process.argv.slice(2);
const two = `${first} ${second ?? ""}`;
const [command, args] =
  two in COMMANDS ? [COMMANDS[two], rest] : [COMMANDS[first], second === undefined ? [] : [second, ...rest]];
if (command !== undefined) {
  const { status } = spawnSync(process.execPath, [join(ROOT, "scripts", command.script), ...args], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} else if (first === "--help" || first === "-h") {
  console.log(HELP);
} else {
  console.error(`There is no command ${JSON.stringify(first)}.\n\n${HELP}`);
  process.exitCode = 2;
}
