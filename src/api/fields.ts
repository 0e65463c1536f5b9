/** Request fields that chat and text completions share, as OpenAI's contract has them. */
import { z } from "zod";
import { samplingSchema, type Sampling } from "../generation.ts";
import { narrowingFields, type Narrowing } from "../narrowing.ts";
import {
  MAX_CHOICES,
  MAX_IDENTIFIER_CHARS,
  MAX_METADATA_KEY_CHARS,
  MAX_METADATA_PAIRS,
  MAX_METADATA_VALUE_CHARS,
  MAX_MODEL_CHARS,
  MAX_STOP_CHARS,
  MAX_STOP_SEQUENCES,
} from "./bounds.ts";

/** A refinement's code on the wire, carried in the issue's `params`. */
export const UNSUPPORTED = { code: "unsupported_parameter" };

/** A parameter Sortie does not have: accepted when absent, null, or a value that asks for nothing. */
export function unsupported(neutral: z.ZodType = z.never()) {
  const asksForNothing = (value: unknown): boolean =>
    value === undefined || value === null || neutral.safeParse(value).success;
  const { $schema: _, ...allowed } = z.toJSONSchema(neutral);
  return z
    .unknown()
    .refine(asksForNothing, { params: UNSUPPORTED })
    .optional()
    .meta({
      description: "Not supported: any value that asks for something is refused.",
      anyOf: [allowed, { type: "null" }],
    });
}

/** A list that must be empty. */
export const nothing = z.array(z.unknown()).max(0);

const inert = { description: "Accepted; changes nothing." };
const identifier = z.string().max(MAX_IDENTIFIER_CHARS).nullish().meta(inert);
const stopSequence = z.string().min(1).max(MAX_STOP_CHARS);
const limits = samplingSchema.shape;

export const modelField = z.string().min(1).max(MAX_MODEL_CHARS).meta({
  description:
    "`<name>` or `<name>:auto`: the router chooses. `<name>:auto@0.9`: it keeps 90 % of the deepest exit's quality. `<name>:exit-<k>`: a fixed exit.",
});

export const tokenLimit = z.int().min(1).nullish();

/** What shapes the answer, whatever the prompt. */
export const samplingFields = {
  n: z.int().min(1).max(MAX_CHOICES).nullish(),
  stop: z.union([stopSequence, z.array(stopSequence).max(MAX_STOP_SEQUENCES)]).nullish(),
  temperature: limits.temperature.unwrap().nullish(),
  top_p: limits.top_p.unwrap().nullish(),
  presence_penalty: limits.presence_penalty.unwrap().nullish(),
  frequency_penalty: limits.frequency_penalty.unwrap().nullish(),
  /** Any integer that JSON carries exactly. */
  seed: z.int().nullish(),
  /** Extensions, named as vLLM and transformers name them. */
  top_k: limits.top_k.unwrap().nullish(),
  min_p: limits.min_p.unwrap().nullish(),
  repetition_penalty: limits.repetition_penalty.unwrap().nullish(),
};

/** Sortie's own: how this request narrows the exit choice. Tenant and key may narrow it further; the narrowest wins. */
export const sortieField = z
  .strictObject({
    ...narrowingFields,
    early_exit: z.number().gt(0).max(1).nullish().meta({
      description:
        "At an origin, each token comes from the first exit that gives its most probable token more than this probability.",
    }),
  })
  .nullish()
  .meta({ description: "Sortie's own: narrows the exits that may answer." });

type SortieField = z.infer<typeof sortieField>;

export function toNarrowing({ sortie }: { sortie?: SortieField }): Narrowing {
  const { early_exit: _, ...narrowing } = sortie ?? {};
  return narrowing;
}

export function toEarlyExit({ sortie }: { sortie?: SortieField }): number | null {
  return sortie?.early_exit ?? null;
}

export const streamFields = {
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({
      include_usage: z.boolean().nullish(),
      include_sortie: z.boolean().nullish().meta({
        description:
          "Exit and confidence of every token, the final exit, and the cost, in a `sortie` field of the chunks.",
      }),
      include_obfuscation: z.literal(false).nullish(),
    })
    .nullish()
    .meta({ description: "Only with `stream: true`." }),
};

/** What clients send and nothing here depends on. */
export const inertFields = {
  user: identifier,
  safety_identifier: identifier,
  prompt_cache_key: identifier,
  prompt_cache_retention: identifier,
  metadata: z
    .record(z.string().max(MAX_METADATA_KEY_CHARS), z.string().max(MAX_METADATA_VALUE_CHARS))
    .refine((pairs) => Object.keys(pairs).length <= MAX_METADATA_PAIRS, `has more than ${MAX_METADATA_PAIRS} pairs`)
    .nullish()
    .meta({ ...inert, maxProperties: MAX_METADATA_PAIRS }),
  store: z.literal(false).nullish().meta(inert),
  service_tier: z.enum(["auto", "default"]).nullish().meta(inert),
};

/** The rule of `stream_options`, for a schema's `refine`. */
export const streamOptionsNeedStream = [
  ({ stream, stream_options: options }: StreamFields) => stream === true || (options ?? null) === null,
  { path: ["stream_options"], error: "'stream_options' is only allowed when 'stream' is true" },
] satisfies [unknown, unknown];

type SamplingFields = z.infer<z.ZodObject<typeof samplingFields>>;
type StreamFields = z.infer<z.ZodObject<typeof streamFields>>;

/** @param randomSeed the seed when the caller gave none, 0..2^32-1 */
export function toSampling(fields: SamplingFields, randomSeed: number): Sampling {
  return samplingSchema.parse({
    temperature: fields.temperature ?? undefined,
    top_p: fields.top_p ?? undefined,
    top_k: fields.top_k ?? undefined,
    min_p: fields.min_p ?? undefined,
    repetition_penalty: fields.repetition_penalty ?? undefined,
    presence_penalty: fields.presence_penalty ?? undefined,
    frequency_penalty: fields.frequency_penalty ?? undefined,
    seed: typeof fields.seed === "number" ? foldSeed(fields.seed) : randomSeed,
  });
}

export function toStop({ stop }: SamplingFields): string[] {
  return typeof stop === "string" ? [stop] : (stop ?? []);
}

/** Knuth's multiplicative constant, 2^32 over the golden ratio: spreads the high half over the low one. */
const SPREAD = 0x9e3779b1;

/** A seed of up to 53 bits as 32; seeds below 2^32 stay as they are. */
export function foldSeed(seed: number): number {
  const high = Math.floor(seed / 2 ** 32);
  return (seed ^ Math.imul(high, SPREAD)) >>> 0;
}
