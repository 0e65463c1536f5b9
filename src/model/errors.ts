/** Failures of the engine, as classes with a machine-readable code. The caller maps them to its wire. */

export type HandoffFault = "fingerprint" | "numerics" | "exit" | "shape" | "tokens" | "length";

/** A handoff this bundle cannot resume from: the caller falls back to the token ids. */
export class HandoffError extends Error {
  readonly fault: HandoffFault;

  constructor(fault: HandoffFault, message: string) {
    super(message);
    this.name = "HandoffError";
    this.fault = fault;
  }
}

export type BundleFault = "unreadable" | "manifest" | "size" | "digest" | "graph";

/** A bundle that is not what its manifest says. `path` is the file at fault. */
export class BundleError extends Error {
  readonly fault: BundleFault;
  readonly path: string;

  constructor(fault: BundleFault, path: string, message: string, options?: ErrorOptions) {
    super(`${path}: ${message}`, options);
    this.name = "BundleError";
    this.fault = fault;
    this.path = path;
  }
}

export type EngineFault = "unknown_exit" | "context_length" | "token_id" | "no_state" | "sequence" | "disposed";

/** A call that the loaded model cannot serve. */
export class EngineError extends Error {
  readonly fault: EngineFault;

  constructor(fault: EngineFault, message: string) {
    super(message);
    this.name = "EngineError";
    this.fault = fault;
  }
}
