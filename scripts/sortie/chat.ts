/** `npx sortie chat`: a terminal client that shows where each answer comes from. */
import { createInterface } from "node:readline/promises";
import { parseArgs, styleText } from "node:util";
import { saved, tokensByExit, tokensPerSecond, type Answer } from "../../web/client/answer.ts";
import { ask } from "../../web/client/ask.ts";
import { verdictText } from "../../web/client/route.ts";
import type { Message } from "../../web/client/wire.ts";
import { DEMO_KEY } from "../dev/demo-key.ts";

const HELP = `npx sortie chat [options] [PROMPT]

Without PROMPT it goes on until Ctrl-D. Ctrl-C stops an answer.

  --url URL       default http://localhost:8787
  --model ID      default tiny; tiny:exit-6, tiny:auto@0.95, …
  --help          this text

The key is read from SORTIE_API_KEY; a local deployment has ${DEMO_KEY}.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string", default: "http://localhost:8787" },
    model: { type: "string", default: "tiny" },
    help: { type: "boolean", default: false },
  },
});
const key = process.env["SORTIE_API_KEY"] ?? DEMO_KEY;

/** Colours by exit, in the order in which they appear. */
const COLOURS = ["green", "cyan", "magenta", "red", "yellow"] as const;
const seen: number[] = [];
function coloured(text: string, exit: number): string {
  if (!seen.includes(exit)) seen.push(exit);
  return styleText(COLOURS[seen.indexOf(exit) % COLOURS.length] ?? "green", text);
}

/** Prints an answer as it comes. @returns it, whole or not */
async function answer(messages: readonly Message[]): Promise<Answer | null> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once("SIGINT", stop);
  let shown = 0;
  let last: Answer | null = null;
  const question = { url: values.url, key, model: values.model, messages, temperature: 0, maxTokens: null };
  for await (last of ask(question, stopping.signal)) {
    for (const token of last.tokens.slice(shown)) process.stdout.write(coloured(token.text, token.exit));
    shown = last.tokens.length;
  }
  process.off("SIGINT", stop);
  if (last !== null) console.log(`\n${styleText("dim", summary(last))}`);
  return last;
}

function summary(end: Answer): string {
  const { tier, exit, route, costUsd, firstTokenMs, failure } = end;
  const share = saved(end);
  const speed = tokensPerSecond(end);
  return [
    failure === null ? null : `${failure.title} ${failure.detail}`,
    exit === null ? null : `[${tier} exit ${exit}] ${verdictText(route ?? "")}`,
    tokensByExit(end)
      .map(([at, tokens]) => `${tokens} tokens by exit ${at}`)
      .join(", "),
    firstTokenMs === null ? null : `first token ${Math.round(firstTokenMs)} ms`,
    speed === null ? null : `${speed.toFixed(0)} tokens/s`,
    costUsd === null ? null : `$${costUsd}${share === null ? "" : `, ${Math.round(share * 100)} % saved`}`,
  ]
    .filter((part) => part !== null && part !== "")
    .join("; ");
}

async function converse(): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
  const messages: Message[] = [];
  terminal.prompt();
  for await (const line of terminal) {
    if (line.trim() !== "") {
      messages.push({ role: "user", content: line });
      const told = await answer(messages);
      if (told?.state === "done") messages.push({ role: "assistant", content: told.text });
      else messages.pop();
    }
    terminal.prompt();
  }
}

if (values.help) console.log(HELP);
else if (positionals.length === 0) await converse();
else {
  const told = await answer([{ role: "user", content: positionals.join(" ") }]);
  if (told?.state !== "done") process.exitCode = 1;
}
