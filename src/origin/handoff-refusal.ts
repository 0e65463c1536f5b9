/** Why a receiver does not resume a handoff. */
import type { HandoffRefusalCode } from "./protocol.ts";

/** A handoff that cannot be resumed here; the sender falls back to token ids. */
export class HandoffRefusal extends Error {
  readonly code: HandoffRefusalCode;
  constructor(code: HandoffRefusalCode, message: string) {
    super(message);
    this.name = "HandoffRefusal";
    this.code = code;
  }
}

/** Shorthand for the commonest refusal. */
export const malformed = (message: string): HandoffRefusal => new HandoffRefusal("handoff_malformed", message);
