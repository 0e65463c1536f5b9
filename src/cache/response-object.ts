/**
 * The Durable Object of one tenant's response cache: whole answers of deterministic requests, and the flights of those
 * that are being computed now. An answer is a list of lines that mean nothing here; who computes it sends them as they
 * come, whoever asks the same meanwhile reads along, and a whole one is stored.
 */
import { DurableObject } from "cloudflare:workers";
import { AnswerStore } from "./answer-store.ts";
import { Flight } from "./flight.ts";
import {
  ENTER_PATH,
  LEAD_PATH,
  LEFT_LINE,
  MAX_LINES_BYTES,
  PURGE_PATH,
  ROLE_HEADER,
  STORE_LINE,
} from "./response-protocol.ts";
import { readLines } from "./lines.ts";

export class ResponseCache extends DurableObject {
  readonly #store: AnswerStore;
  readonly #flights = new Map<string, Flight>();

  constructor(ctx: DurableObjectState, env: never) {
    super(ctx, env);
    this.#store = new AnswerStore(ctx.storage);
  }

  /** `POST /enter`, `POST /lead`, `POST /purge`; called by the Worker only. */
  override async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const key = searchParams.get("key") ?? "";
    const read = searchParams.get("read") === "true";
    switch (pathname) {
      case ENTER_PATH:
        return this.#enter(key, read);
      case LEAD_PATH: {
        const flight = (read && this.#flights.get(key)) || new Flight(() => undefined);
        return this.#lead(flight, key, Number(searchParams.get("ttl")), request.body);
      }
      case PURGE_PATH:
        return Response.json({ purged: this.#store.clear() });
      default:
        return new Response(null, { status: 404 });
    }
  }

  /** Answers with a stored answer, with the flight under way, or with the order to compute. */
  #enter(key: string, read: boolean): Response {
    const stored = read ? this.#store.find(key, Date.now()) : null;
    if (stored !== null) return new Response(stored, { headers: { [ROLE_HEADER]: "hit" } });
    const flight = read ? this.#flights.get(key) : undefined;
    if (flight !== undefined) return new Response(flight.follow(), { headers: { [ROLE_HEADER]: "follow" } });
    if (read) {
      const begun = new Flight(() => this.#end(key, begun));
      this.#flights.set(key, begun);
    }
    return new Response(null, { status: 204, headers: { [ROLE_HEADER]: "lead" } });
  }

  /**
   * Takes the lines of an answer as they come, as long as it is wanted.
   * @param flight that was begun for it; one of its own where nobody may read along
   */
  async #lead(flight: Flight, key: string, ttlMs: number, body: ReadableStream<Uint8Array> | null): Promise<Response> {
    flight.begin();
    let bytes = 0;
    const lines: string[] = [];
    try {
      for await (const line of readLines(body ?? new Blob().stream())) {
        if (line === LEFT_LINE) flight.leave();
        if (!flight.isWanted) break;
        if (line === LEFT_LINE) continue;
        bytes += line.length + 1;
        if (line === STORE_LINE) {
          if (bytes <= MAX_LINES_BYTES) this.#store.put(key, `${lines.join("\n")}\n`, Date.now(), ttlMs);
          flight.finish();
          return new Response(null, { status: 204 });
        }
        if (bytes <= MAX_LINES_BYTES) lines.push(line);
        flight.tell(line);
      }
    } catch {
      // The one who computed is gone: whoever reads along computes it anew.
    } finally {
      flight.finish();
      this.#end(key, flight);
    }
    return new Response(null, { status: 204 });
  }

  #end(key: string, flight: Flight): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }

  /** Answers that are too old. */
  override async alarm(): Promise<void> {
    this.#store.expire(Date.now());
  }
}
