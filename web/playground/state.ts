/** What the playground knows, as signals, and what changes it. */
import { computed, signal, type Signal } from "@preact/signals";
import { newAnswer, type Answer } from "../client/answer.ts";
import { ask } from "../client/ask.ts";
import { failureOf, unreachable, type Failure } from "../client/failure.ts";
import type { BudgetBody, Health, Message, Playground, UsageBody } from "../client/wire.ts";

export type Mode = "router" | "fixed" | "all";

/** One prompt and its answers: one, or one an exit. */
export interface Turn {
  readonly id: number;
  readonly prompt: string;
  readonly mode: Mode;
  readonly answers: readonly Signal<Answer>[];
}

/** Kept for this tab alone. */
const KEY_NAME = "sortie.key";

export const deployment = signal<Health | null>(null);
export const deploymentFailure = signal<Failure | null>(null);
export const key = signal(sessionStorage.getItem(KEY_NAME) ?? "");
/** A key that the operator gives to visitors. */
export const visitorKey = signal<string | null>(null);
export const budgets = signal<readonly BudgetBody[]>([]);
export const mode = signal<Mode>("router");
export const fixedExit = signal<number | null>(null);
export const temperature = signal(0);
/** Share of the deepest exit's quality to keep; null: the deployment's own target. */
export const quality = signal<number | null>(null);
export const draft = signal("");
export const turns = signal<readonly Turn[]>([]);
const running = signal<AbortController | null>(null);
export const busy = computed(() => running.value !== null);

let loading: Promise<void> | null = null;

/** What is served, and whether visitors get a key; asked once. Never fails: the page says what is wrong. */
export const load = (): Promise<void> => (loading ??= readDeployment());

async function readDeployment(): Promise<void> {
  try {
    const [health, playground] = await Promise.all([fetch("/healthz"), fetch("/playground.json")]);
    if (!health.headers.get("content-type")?.startsWith("application/json") || !playground.ok) {
      deploymentFailure.value = failureOf(health.status, health.headers, await health.text());
      return;
    }
    deployment.value = (await health.json()) as Health;
    fixedExit.value ??= deployment.value.exits[0] ?? null;
    visitorKey.value = ((await playground.json()) as Playground).visitor_key;
    if (key.value === "" && visitorKey.value !== null) setKey(visitorKey.value);
    await refreshBudgets();
  } catch (error) {
    deploymentFailure.value = unreachable(error);
  }
}

export function setKey(value: string): void {
  key.value = value.trim();
  sessionStorage.setItem(KEY_NAME, key.value);
}

/** The tenant's own budgets; empty when the key opens nothing. */
export async function refreshBudgets(): Promise<void> {
  if (key.value === "") return void (budgets.value = []);
  try {
    const response = await fetch("/v1/usage", { headers: { authorization: `Bearer ${key.value}` } });
    budgets.value = response.ok ? ((await response.json()) as UsageBody).budgets : [];
  } catch {
    budgets.value = []; // the answer itself says what is wrong
  }
}

/** Model ids that the mode asks for. */
function models({ model, exits }: Health): readonly string[] {
  if (mode.value === "all") return exits.map((exit) => `${model}:exit-${exit}`);
  if (mode.value === "fixed") return [`${model}:exit-${fixedExit.value}`];
  return [quality.value === null ? model : `${model}:auto@${quality.value}`];
}

/** Earlier turns that got one whole answer, and the prompt. */
function conversation(prompt: string): Message[] {
  const before = turns.value.flatMap(({ prompt: asked, answers }): Message[] => {
    const [answer] = answers;
    if (answers.length !== 1 || answer?.value.state !== "done") return [];
    return [
      { role: "user", content: asked },
      { role: "assistant", content: answer.value.text },
    ];
  });
  return [...before, { role: "user", content: prompt }];
}

/** Asks what stands in the draft. Nothing happens while an answer runs, or without a prompt. */
export async function send(): Promise<void> {
  await load();
  const prompt = draft.value.trim();
  if (prompt === "" || busy.value || deployment.value === null) return;
  const asked = models(deployment.value);
  const messages = mode.value === "all" ? [{ role: "user" as const, content: prompt }] : conversation(prompt);
  const answers = asked.map((model) => signal(newAnswer(model)));
  turns.value = [...turns.value, { id: turns.value.length, prompt, mode: mode.value, answers }];
  draft.value = "";
  const controller = new AbortController();
  running.value = controller;
  const shared = { url: "", key: key.value, messages, temperature: temperature.value, maxTokens: null };
  await Promise.all(
    answers.map((answer, index) => follow(answer, { ...shared, model: asked[index] ?? "" }, controller)),
  );
  running.value = null;
  await refreshBudgets();
}

async function follow(
  answer: Signal<Answer>,
  question: Parameters<typeof ask>[0],
  { signal: stopped }: AbortController,
): Promise<void> {
  for await (const next of ask(question, stopped)) answer.value = next;
}

export function stop(): void {
  running.value?.abort();
}

export function startOver(): void {
  stop();
  turns.value = [];
}
