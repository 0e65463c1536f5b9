/** The Worker's client of a tenant's response cache. */
import { readLines } from "./lines.ts";
import { ENTER_PATH, LEAD_PATH, LEFT_LINE, PURGE_PATH, ROLE_HEADER, STORE_LINE } from "./response-protocol.ts";

/** Host of requests to the object; never resolved. */
const OBJECT_ORIGIN = "https://response-cache.local";

/** Sends an answer's lines as they come. Nothing here fails: an answer is none the worse for not being stored. */
export interface Lead {
  tell(line: string): void;
  /** This one's own client is gone: `ended` then resolves as soon as nobody reads along. Idempotent. */
  leave(): void;
  /** Resolves when nobody listens any more, at the latest when the answer is whole. Never rejects. */
  readonly ended: Promise<void>;
  /** The answer is whole and may be stored. */
  finish(): void;
  /** There will be no whole answer. Idempotent; nothing after `finish`. */
  abandon(): void;
}

export type Entered =
  /** A whole answer, or one under way: then the lines may end before the answer does. */
  | { readonly role: "hit" | "follow"; readonly lines: AsyncGenerator<string, void> }
  | { readonly role: "lead"; readonly lead: Lead };

export interface ResponseClient {
  /**
   * @param key names tenant, epoch, and all that the answer depends on
   * @param read false: compute it anew, whatever is stored
   */
  enter(tenant: string, key: string, read: boolean): Promise<Entered>;
  /** @returns how many answers went */
  purge(tenant: string): Promise<number>;
}

export interface ResponseOptions {
  readonly namespace: DurableObjectNamespace;
  /** Milliseconds for which an answer is good. */
  readonly ttlMs: number;
}

export function createResponseClient({ namespace, ttlMs }: ResponseOptions): ResponseClient {
  const stub = (tenant: string): DurableObjectStub => namespace.get(namespace.idFromName(tenant));
  const ask = (tenant: string, path: string, query: Record<string, string>, body?: ReadableStream<Uint8Array>) =>
    stub(tenant).fetch(`${OBJECT_ORIGIN}${path}?${new URLSearchParams(query).toString()}`, {
      method: "POST",
      ...(body && { body }),
    });
  return {
    async enter(tenant, key, read) {
      const response = await ask(tenant, ENTER_PATH, { key, read: String(read) });
      const role = response.headers.get(ROLE_HEADER);
      if ((role === "hit" || role === "follow") && response.body !== null) {
        return { role, lines: readLines(response.body) };
      }
      if (role !== "lead") throw new Error(`the response cache answered ${response.status}`);
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const nothing = (): void => undefined;
      const ended = ask(tenant, LEAD_PATH, { key, read: String(read), ttl: String(ttlMs) }, readable).then(
        nothing,
        nothing,
      );
      return { role, lead: leadInto(writable.getWriter(), ended) };
    },
    async purge(tenant) {
      const { purged } = (await (await ask(tenant, PURGE_PATH, {})).json()) as { purged: number };
      return purged;
    },
  };
}

function leadInto(writer: WritableStreamDefaultWriter<Uint8Array>, ended: Promise<void>): Lead {
  const utf8 = new TextEncoder();
  let [isLeft, isOver] = [false, false];
  const write = (line: string): void => void writer.write(utf8.encode(`${line}\n`)).catch(() => undefined);
  return {
    tell: write,
    ended,
    leave() {
      if (!isLeft && !isOver) write(LEFT_LINE);
      isLeft = true;
    },
    finish() {
      isOver = true;
      write(STORE_LINE);
      writer.close().catch(() => undefined);
    },
    abandon() {
      if (isOver) return;
      isOver = true;
      writer.abort(new Error("the answer was left")).catch(() => undefined);
    },
  };
}
