/** Tenants share one thread: what one reads, the others hardly notice. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UNITS_PER_MS, type Sliced } from "../../src/sliced.ts";
import { Turns } from "../../src/turns.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearInterval", "Date"] }));
afterEach(() => void vi.useRealTimers());

const STAYS = new AbortController().signal;
const UNITS = 500;

/** So many milliseconds of work, which take that time; notes when each slice is done. */
function* work(milliseconds: number, slices: number[] = []): Sliced<string> {
  for (let done = 0; done < milliseconds * UNITS_PER_MS; done += UNITS) {
    vi.setSystemTime(Date.now() + UNITS / UNITS_PER_MS);
    slices.push(Date.now());
    yield UNITS;
  }
  return "done";
}

/** Runs timers until a promise is settled; milliseconds that took. */
async function took(promise: Promise<unknown>): Promise<number> {
  const started = Date.now();
  let settled = false;
  void promise.finally(() => (settled = true)).catch(() => undefined);
  while (!settled) await vi.advanceTimersByTimeAsync(1);
  return Date.now() - started;
}

test("work returns what it returns, and throws what it throws", async () => {
  const turns = new Turns();
  expect(await turns.run("a", work(1), STAYS)).toBe("done");
  const failing = function* (): Sliced<never> {
    yield 1;
    throw new Error("not JSON");
  };
  await expect(turns.run("a", failing(), STAYS)).rejects.toThrow("not JSON");
});

test("a little is done at once, without waiting for a timer", async () => {
  const turns = new Turns();
  turns.arrive("b");
  const slices: number[] = [];
  const done = turns.run("a", work(1, slices), STAYS);
  expect(slices).toHaveLength(2);
  expect(await done).toBe("done");
});

test("the event loop turns at least every few milliseconds", async () => {
  const turns = new Turns();
  const slices: number[] = [];
  const done = turns.run("a", work(50, slices), STAYS);
  let longest = 0;
  for (let before = slices.length; slices.length < 100; before = slices.length) {
    await vi.advanceTimersByTimeAsync(1);
    longest = Math.max(longest, (slices.length - before) * UNITS);
  }
  await took(done);
  expect(longest).toBeLessThanOrEqual(3 * UNITS_PER_MS);
});

test("alone, a tenant has about all of the time", async () => {
  const turns = new Turns();
  expect(await took(turns.run("a", work(400), STAYS))).toBeLessThan(1_000);
});

test("while others are here, a tenant has 100 ms, and then a tenth of the time", async () => {
  const turns = new Turns();
  turns.arrive("b");
  const others = setInterval(() => turns.arrive("b"), 500);
  const elapsed = await took(turns.run("a", work(400), STAYS));
  clearInterval(others);
  expect(elapsed).toBeGreaterThan(2_500);
  expect(elapsed).toBeLessThan(4_500);
});

test("what a tenant used while it was alone is not held against it when others come", async () => {
  const turns = new Turns();
  await took(turns.run("a", work(3_000), STAYS));
  turns.arrive("b");
  expect(await took(turns.run("a", work(1), STAYS))).toBeLessThan(30);
});

test("many requests of one tenant have no more than one", async () => {
  const turns = new Turns();
  turns.arrive("b");
  const slices: number[] = [];
  for (let each = 0; each < 50; each++) void turns.run("a", work(20, slices), STAYS);
  for (let at = 0; at < 2_000; at++) {
    await vi.advanceTimersByTimeAsync(1);
    if (at % 500 === 0) turns.arrive("b");
  }
  const busy = (slices.length * UNITS) / UNITS_PER_MS;
  expect(busy).toBeLessThan(100 + 0.1 * (slices.at(-1)! - slices[0]!) + 10);
  expect(busy).toBeGreaterThan(200);
});

test("another tenant's work is done meanwhile", async () => {
  const turns = new Turns();
  for (let each = 0; each < 20; each++) void turns.run("a", work(200), STAYS);
  await vi.advanceTimersByTimeAsync(50);
  expect(await took(turns.run("b", work(5), STAYS))).toBeLessThan(30);
});

test("a client that is gone has nothing done any more", async () => {
  const turns = new Turns();
  const gone = new AbortController();
  const slices: number[] = [];
  const done = turns.run("a", work(100, slices), gone.signal);
  await vi.advanceTimersByTimeAsync(5);
  gone.abort(new Error("gone"));
  const before = slices.length;
  await Promise.all([expect(done).rejects.toThrow("gone"), vi.advanceTimersByTimeAsync(50)]);
  expect(slices.length).toBe(before);
});
