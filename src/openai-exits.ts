/** The origin's client with some of its exits served by OpenAI-compatible engines. */
import type { OpenaiExit } from "./env.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Tokenizer } from "./model/tokenizer.ts";
import type { OriginClient } from "./origin/client.ts";
import { generateOpenai, type TextRim } from "./origin/openai-exit.ts";
import { OriginError } from "./origin/origin-error.ts";

/** @returns null when there is neither an origin nor an engine. */
export function withOpenaiExits(
  origin: OriginClient | null,
  exits: readonly OpenaiExit[],
  { tokenizer, bundle }: Pick<Catalogue, "tokenizer" | "bundle">,
): OriginClient | null {
  if (exits.length === 0) return origin;
  const rim = textRim(tokenizer, bundle.shape.vocab_size);
  const orNone = (): OriginClient => {
    if (origin === null) throw new OriginError("unreachable", "no origin is configured for this exit");
    return origin;
  };
  return {
    async generate(request, handoff, signal, spared) {
      const engine = exits.find(({ exit }) => exit === request.exit_layer);
      return engine === undefined
        ? orNone().generate(request, handoff, signal, spared)
        : generateOpenai(engine, request, rim, signal);
    },
    info: async (signal) => orNone().info(signal),
  };
}

/** Text and ids as an engine that speaks text has them. */
export function textRim(tokenizer: Tokenizer, vocabulary: number): TextRim {
  const spellings = new Map(Array.from(tokenizer.controlTokens, ([text, id]) => [id, text]));
  return {
    vocabulary,
    idsOf(text) {
      // Its encoder puts a space before every text, so pieces of one cannot be told from texts of their own.
      if (tokenizer.stripsLeadingSpace)
        throw new OriginError("malformed", "this tokenizer needs an engine that sends ids");
      return tokenizer.encode(text);
    },
    textOf(ids) {
      const prefix = tokenizer.textPrefix; // the engine's own tokenizer puts it there
      const rest = prefix.every((id, at) => ids[at] === id) ? ids.slice(prefix.length) : ids;
      const parts: string[] = [];
      let plain: number[] = [];
      const flush = (): boolean => {
        const text = decode(tokenizer, plain);
        plain = [];
        parts.push(text);
        return !Array.from(spellings.values()).some((spelling) => text.includes(spelling));
      };
      for (const id of rest) {
        const control = spellings.get(id);
        if (control === undefined) plain.push(id);
        else if (flush()) parts.push(control);
        else return null;
      }
      return flush() ? parts.join("") : null;
    },
  };
}

function decode(tokenizer: Tokenizer, ids: readonly number[]): string {
  const bytes = ids.flatMap((id) => Array.from(tokenizer.bytesOf(id)));
  return new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
