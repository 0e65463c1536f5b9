/** The model that the engine's golden tests run: models/tiny, or a real LLaMA checkpoint beside the repository. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { type GenerationRequest, generationRequestSchema } from "../../src/generation.ts";
import { openBundle } from "../../src/model/bundle.ts";
import { createChatTemplate } from "../../src/model/chat-template.ts";
import { type Engine, loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";
import { createTokenizer, type Tokenizer } from "../../src/model/tokenizer.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const TINY = join(ROOT, "models/tiny");
const TINY_PROMPTS = join(TINY, "validation.jsonl");
const STORIES = join(ROOT, "../shared/checkpoints/stories260k");
const STORIES_TEXT = join(ROOT, "../shared/data/text/tinystories_first2MiB.txt");
/** Characters of a story that make a prompt: between 8 and 300, so that prompts end everywhere in a block. */
const storyLength = (index: number) => 8 + ((index * 37) % 293);

export interface GoldenModel {
  readonly name: string;
  /** Folder of the exported bundle. */
  readonly folder: string;
  readonly prompts: readonly (readonly number[])[];
  readonly stopTokenIds: readonly number[];
  /** Runs in this thread. */
  load(): Promise<Engine>;
}

/** Exports the model anew, so that a test never sees an older bundle. null, with the reason printed: no checkpoint. */
export async function goldenModel(numerics: "w8a8" | "fp32", prompts: number): Promise<GoldenModel | null> {
  const tiny = existsSync(join(TINY, "model.safetensors")) && existsSync(TINY_PROMPTS);
  if (!tiny && !(existsSync(STORIES) && existsSync(STORIES_TEXT))) {
    console.log(`skipped: neither ${TINY} nor ${STORIES} is there`);
    return null;
  }
  const checkpoint = tiny ? TINY : STORIES;
  const name = tiny ? "tiny" : "stories260k";
  const folder = join(ROOT, "build/golden", `${name}-${numerics}`);
  await exportBundle({
    checkpoint,
    out: folder,
    numerics,
    name,
    exits: tiny ? undefined : [1, 2, 3, 4, 5],
    contextLength: undefined,
    onProgress: () => undefined,
  });
  const bundle = await openBundle(folderSource(folder));
  const read = (file: string): unknown => JSON.parse(readFileSync(join(folder, file), "utf8"));
  const tokenizer = createTokenizer(read("tokenizer.json"));
  const encoded = tiny ? chats(tokenizer, read("tokenizer_config.json")) : stories(tokenizer);
  return {
    name,
    folder,
    prompts: encoded.filter((ids) => ids.length < bundle.shape.context_length - 64).slice(0, prompts),
    stopTokenIds: bundle.eos_token_ids,
    load: async () => {
      const engine = await loadEngine({ bundle, source: folderSource(folder), runtime: nodeRuntime({ threads: 1 }) });
      await engine.warmUp();
      return engine;
    },
  };
}

interface Row {
  readonly messages: readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[];
}

/** Row i as a chat with 0, 2, 4 or 6 earlier rows as its turns: prompts of less than a block and of several. */
function chats(tokenizer: Tokenizer, config: unknown): number[][] {
  const template = createChatTemplate(tokenizer, config);
  const lines = readFileSync(TINY_PROMPTS, "utf8").trim().split("\n");
  const rows = lines.map((line) => (JSON.parse(line) as Row).messages.filter(({ role }) => role !== "system"));
  return rows.map((row, index) => {
    const earlier = rows.slice(Math.max(0, index - 2 * (index % 4)), index);
    return template.encode([...earlier.flat(), ...row.slice(0, -1)]);
  });
}

function stories(tokenizer: Tokenizer): number[][] {
  const texts = readFileSync(STORIES_TEXT, "utf8").split("<|endoftext|>");
  const bos = tokenizer.controlTokens.get("<s>") ?? 0;
  return texts.map((text, index) => [bos, ...tokenizer.encode(text.trim().slice(0, storyLength(index)))]);
}

/** A greedy request that also asks for the second-best id. */
export function greedyRequest(
  model: GoldenModel,
  ids: readonly number[],
  exit: number,
  tokens: number,
): GenerationRequest {
  return generationRequestSchema.parse({
    request_id: "golden",
    token_ids: ids,
    exit_layer: exit,
    max_tokens: tokens,
    sampling: { temperature: 0, seed: 0 },
    top_logprobs: 2,
    stop_token_ids: model.stopTokenIds,
  });
}
