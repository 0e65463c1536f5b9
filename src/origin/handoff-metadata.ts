/** `__metadata__` of a handoff, read strictly. */
import { type GenerationRequest, generationRequestSchema } from "../generation.ts";
import type { Numerics } from "../handoff.ts";
import { malformed } from "./handoff-refusal.ts";
import { handoffMetadataSchema, MAX_LAYERS, requestBoundsError } from "./protocol.ts";

export interface SenderMetadata {
  readonly request: GenerationRequest;
  readonly fingerprint: string;
  readonly numerics: Numerics;
  readonly exitLayer: number;
}

/** @throws {HandoffRefusal} `handoff_malformed` */
export function readMetadata(metadata: Readonly<Record<string, string>>): SenderMetadata {
  const parsed = handoffMetadataSchema.safeParse(metadata);
  if (!parsed.success) throw malformed(`__metadata__: ${parsed.error.issues[0]?.path.join(".") ?? ""} is wrong`);
  const { request, fingerprint, numerics, exit_layer } = parsed.data;
  const exitLayer = Number(exit_layer);
  if (exitLayer > MAX_LAYERS) throw malformed(`more than ${MAX_LAYERS} layers`);
  return { request: readRequest(request), fingerprint, numerics, exitLayer };
}

function readRequest(json: string): GenerationRequest {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw malformed("the request in __metadata__ is not JSON");
  }
  const parsed = generationRequestSchema.safeParse(value);
  if (!parsed.success) throw malformed(`the request in __metadata__ is invalid: ${parsed.error.issues[0]?.message}`);
  const bounds = requestBoundsError(parsed.data);
  if (bounds !== null) throw malformed(bounds);
  return parsed.data;
}
