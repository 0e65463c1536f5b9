/** What a checkpoint puts before plain text (BOS, in most of the LLaMA family), as tokenizer.json says it. */
import { z } from "zod";

const stepSchema = z.looseObject({
  SpecialToken: z.looseObject({ id: z.string() }).optional(),
  Sequence: z.looseObject({}).optional(),
});

const processorSchema = z.looseObject({
  type: z.string(),
  /** Of `TemplateProcessing`: the order of special tokens and text. */
  single: z.array(stepSchema).default([]),
  special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(z.int().min(0)) })).default({}),
});

const postProcessorSchema = processorSchema
  .extend({
    /** Of `Sequence`: processors one after another. */
    processors: z.array(processorSchema).default([]),
  })
  .nullish();

/**
 * Ids before the text; tokens that follow it would end the text, so they are left out.
 * @param postProcessor `post_processor` of tokenizer.json
 * @throws z.ZodError for one of another shape
 */
export function textPrefix(postProcessor: unknown): number[] {
  const root = postProcessorSchema.parse(postProcessor);
  if (!root) return [];
  const templates = [root, ...root.processors].filter(({ type }) => type === "TemplateProcessing");
  return templates.flatMap(({ single, special_tokens: ids }) => {
    const textAt = single.findIndex((step) => step.Sequence !== undefined);
    return single.slice(0, Math.max(textAt, 0)).flatMap((step) => ids[step.SpecialToken?.id ?? ""]?.ids ?? []);
  });
}
