/**
 * The Worker's client of an origin that speaks `sortie-origin/1`. Runs in workerd and in Node.
 */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Handoff } from "../handoff.ts";
import type { WireDtype } from "./handoff-codec.ts";
import type { OriginError } from "./origin-error.ts";
import type { OriginInfo } from "./protocol.ts";

/** Milliseconds, each ending in an `OriginError` of kind `timeout`. */
export interface OriginTimeouts {
  /** From the request to the response's headers. */
  readonly connectMs: number;
  /** From the headers to the first event: queue and prefill. Pings do not count. */
  readonly firstEventMs: number;
  /** Between two events. Pings do not count. */
  readonly idleMs: number;
}

export interface OriginClientOptions {
  /** Base address, e.g. `http://127.0.0.1:8788`. */
  readonly url: string;
  /** Shared secret of the HMAC signature. */
  readonly secret: string;
  readonly fetch?: typeof fetch;
  readonly timeouts?: Partial<OriginTimeouts>;
  /** Of hidden states and kvCache on the wire. F32 (default) resumes exactly, F16 halves the bytes. */
  readonly wireDtype?: WireDtype;
  /** Told when a handoff was refused and the token ids are sent in its place; for the log. */
  readonly onHandoffRefused?: (error: OriginError) => void;
}

export interface OriginClient {
  /**
   * Asks for tokens. Resolves when the first event is there, so that a caller may still answer otherwise.
   * A refused handoff is followed once by the token ids alone.
   * @returns tokens, then exactly one `end`. Ending the iteration early aborts the request.
   * @throws {OriginError} now, or while iterating; the signal's reason when the caller aborts.
   */
  generate(
    request: GenerationRequest,
    handoff: Handoff | null,
    signal?: AbortSignal,
  ): Promise<AsyncIterable<TokenEvent>>;
  /** @throws {OriginError} */
  info(signal?: AbortSignal): Promise<OriginInfo>;
}

export declare function createOriginClient(options: OriginClientOptions): OriginClient;
