/** What a bundle takes over from its checkpoint as it stands: tokenizer, chat template and gates. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

/** Where transformers keeps the chat template since 4.43; it wins over the configuration's own. */
export const TEMPLATE_FILE = "chat_template.jinja";
const CONFIG_FILE = "tokenizer_config.json";

export interface CopiedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** @throws Error naming the file that is missing */
export function tokenizerFile(checkpoint: string): CopiedFile {
  return copied(checkpoint, "tokenizer.json");
}

/** tokenizer_config.json, a chat template that stands beside it put into it. @throws as {@link tokenizerFile} */
export function configFile(checkpoint: string): CopiedFile {
  const file = copied(checkpoint, CONFIG_FILE);
  const template = join(checkpoint, TEMPLATE_FILE);
  if (!existsSync(template)) return file;
  const config = z.looseObject({}).parse(JSON.parse(new TextDecoder().decode(file.bytes)));
  const whole = { ...config, chat_template: readFileSync(template, "utf8") };
  return { ...file, bytes: Buffer.from(`${JSON.stringify(whole, null, 2)}\n`) };
}

/** Whether conversations can be turned into prompts. @throws as {@link tokenizerFile} */
export function hasChatTemplate(checkpoint: string): boolean {
  const config: unknown = JSON.parse(new TextDecoder().decode(configFile(checkpoint).bytes));
  return z.looseObject({ chat_template: z.unknown().optional() }).parse(config).chat_template !== undefined;
}

/** router.json, where it stands beside the checkpoint and was made for it. @param made the checkpoint's fingerprint */
export function routerFile(checkpoint: string, made: string): CopiedFile | undefined {
  const path = "router.json";
  if (!existsSync(join(checkpoint, path))) return undefined;
  const file = copied(checkpoint, path);
  const router = z.object({ fingerprint: z.string() }).parse(JSON.parse(new TextDecoder().decode(file.bytes)));
  return router.fingerprint === made ? file : undefined;
}

function copied(checkpoint: string, path: string): CopiedFile {
  const source = join(checkpoint, path);
  if (!existsSync(source)) throw new Error(`${source} is missing; the bundle needs it`);
  return { path, bytes: readFileSync(source) };
}
