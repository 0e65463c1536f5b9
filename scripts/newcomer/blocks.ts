/**
 * Commands of a document: its fenced blocks of `sh` (all of it) and `console` (lines behind `$ `, continued behind `> `; the
 * others are what they print, `…` standing for anything). Words behind the language say more:
 *
 *   not-run="reason"   it cannot be run where there is no account, no GPU or no hour to spare
 *   serves             it goes on until the document ends; it is ready when it has printed what the block shows
 *   serves="text"      … when it has printed that text
 */

export interface Step {
  /** As bash takes it. */
  readonly command: string;
  /** What it prints, in this order, perhaps with more between; `…` is anything. */
  readonly prints: readonly string[];
}

export interface Block {
  /** Of its fence, from 1. */
  readonly line: number;
  readonly steps: readonly Step[];
  /** Why it is not run; null: it is. */
  readonly notRun: string | null;
  readonly serves: boolean;
}

const FENCE = /^(\s*)```(.*)$/;

/** @throws Error naming a fence that never ends, or a word that means nothing */
export function blocksOf(markdown: string): Block[] {
  const lines = markdown.split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at++) {
    const [, indent = "", info] = FENCE.exec(lines[at] ?? "") ?? [];
    if (info === undefined) continue;
    const end = lines.findIndex((line, later) => later > at && line === `${indent}\`\`\``);
    if (end === -1) throw new Error(`line ${at + 1}: the fence never ends`);
    const content = lines.slice(at + 1, end).map((line) => line.slice(indent.length));
    const block = blockOf(at + 1, info.trim(), content);
    if (block !== null) blocks.push(block);
    at = end;
  }
  return blocks;
}

function blockOf(line: number, info: string, content: readonly string[]): Block | null {
  const [, language = "", words = ""] = /^(\S*)(.*)$/.exec(info) ?? [];
  if (language !== "sh" && language !== "console") return null;
  let [notRun, serves, ready]: [string | null, boolean, string | null] = [null, false, null];
  for (const [, name, value] of words.matchAll(/\s+([^\s="]+)(?:="([^"]*)")?/g)) {
    if (name === "not-run" && value) notRun = value;
    else if (name === "serves") [serves, ready] = [true, value ?? null];
    else throw new Error(`line ${line}: ${name} says nothing about a block`);
  }
  const steps = language === "sh" ? [{ command: content.join("\n"), prints: [] }] : stepsOf(content);
  const last = steps.at(-1);
  const whole = ready === null || last === undefined ? steps : [...steps.slice(0, -1), { ...last, prints: [ready] }];
  return { line, steps: whole, notRun, serves };
}

function stepsOf(content: readonly string[]): Step[] {
  const steps: { command: string; prints: string[] }[] = [];
  for (const line of content) {
    const step = steps.at(-1);
    if (line.startsWith("$ ")) steps.push({ command: line.slice(2), prints: [] });
    else if (line.startsWith("> ") && step?.prints.length === 0) step.command += `\n${line.slice(2)}`;
    else if (line.trim() !== "") step?.prints.push(line.trim());
  }
  return steps;
}

/** The first of the lines shown that does not appear in what was printed, in order; null: all do. */
export function missingLine(prints: readonly string[], output: string): string | null {
  let rest = output.split("\n").map((line) => line.trim());
  for (const shown of prints) {
    const pattern = new RegExp(
      shown
        .split("…")
        .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))
        .join(".*"),
    );
    const at = rest.findIndex((line) => pattern.test(line));
    if (at === -1) return shown;
    rest = rest.slice(at + 1);
  }
  return null;
}
