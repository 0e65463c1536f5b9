/**
 * Turns: tenants share an isolate's one thread. Reading a request (its JSON, its tokens) is done in slices; between
 * two of them the event loop turns, and while other tenants have requests here, one tenant's slices take a tenth of
 * the time. Every request waits for itself: nothing is handed from one request to another, because the platform may
 * end any of them at any moment.
 */
import { UNITS_PER_MS, type Sliced } from "./sliced.ts";

/** Units between two turns of the event loop. */
const SLICE_UNITS = 2 * UNITS_PER_MS;
/** A tenant's share of the time while others are here. */
const SHARE = 0.1;
/** Units that a tenant may use at once before the share binds it: 100 ms. */
const BURST_UNITS = 100 * UNITS_PER_MS;
/** Milliseconds that a tenant counts as being here after its last request came or was read. */
const PRESENT_MS = 1_000;
/** Milliseconds after which both buckets have run dry: nothing is lost with them. */
const FORGET_MS = 10_000;

/** What a tenant has used, as two leaking buckets, and when it was last here. */
interface Use {
  seenAt: number;
  /** Milliseconds since 1970 to which the levels belong. */
  at: number;
  /** Leaks as fast as time passes. */
  slice: number;
  /** Leaks at the tenant's share. */
  share: number;
}

export class Turns {
  readonly #uses = new Map<string, Use>();

  /** A tenant's request is here. */
  arrive(tenant: string): void {
    const now = Date.now();
    for (const [name, { seenAt }] of this.#uses) if (now - seenAt > FORGET_MS) this.#uses.delete(name);
    this.#use(tenant, now).seenAt = now;
  }

  /**
   * Does the work in the tenant's turns.
   * @throws what the work throws; the signal's reason
   */
  async run<T>(tenant: string, work: Sliced<T>, signal: AbortSignal): Promise<T> {
    for (let wait = this.#wait(tenant); ; wait = Math.max(this.#wait(tenant), 1)) {
      for (; wait > 0; wait = this.#wait(tenant)) {
        const milliseconds = Math.ceil(wait);
        await new Promise((resolve) => setTimeout(resolve, milliseconds));
        signal.throwIfAborted();
      }
      let done = 0;
      try {
        while (done < SLICE_UNITS) {
          const step = work.next();
          if (step.done === true) return step.value;
          done += step.value;
        }
      } finally {
        this.#spend(tenant, done);
      }
    }
  }

  /** Milliseconds until it may be the tenant's turn; 0: it is. */
  #wait(tenant: string): number {
    const now = Date.now();
    const use = this.#use(tenant, now);
    use.seenAt = now;
    const slice = use.slice < SLICE_UNITS ? 0 : (use.slice - SLICE_UNITS) / UNITS_PER_MS + 1;
    const over = this.#isAlone(tenant, now) ? 0 : use.share - BURST_UNITS;
    return Math.max(slice, over / (UNITS_PER_MS * SHARE));
  }

  #spend(tenant: string, units: number): void {
    const now = Date.now();
    const use = this.#use(tenant, now);
    use.slice += units;
    // What a tenant used while nobody waited is not held against it when somebody comes.
    use.share = this.#isAlone(tenant, now) ? Math.min(use.share + units, BURST_UNITS) : use.share + units;
  }

  #isAlone(tenant: string, now: number): boolean {
    for (const [name, { seenAt }] of this.#uses) if (name !== tenant && now - seenAt <= PRESENT_MS) return false;
    return true;
  }

  /** A tenant's use, leaked to now. */
  #use(tenant: string, now: number): Use {
    const use = this.#uses.get(tenant) ?? { seenAt: now, at: now, slice: 0, share: 0 };
    const passed = Math.max(now - use.at, 0) * UNITS_PER_MS;
    use.slice = Math.max(use.slice - passed, 0);
    use.share = Math.max(use.share - passed * SHARE, 0);
    use.at = Math.max(use.at, now);
    this.#uses.set(tenant, use);
    return use;
  }
}
