/** The engine loads and decodes in workerd inside an isolate's memory. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BenchResult, LoadResult } from "../worker/fixtures/engine/protocol.ts";
import { startEngineWorker } from "../worker/fixtures/engine/start.ts";
import { goldenModel } from "./engine-model.ts";

/** 1,600 WebAssembly pages of 64 KiB and 100 MB of JavaScript: what DESIGN section 14 found to bound an isolate. */
const WASM_PAGES = 1_600;
const PAGE_BYTES = 65_536;
const V8_FLAGS = `--wasm-max-mem-pages=${WASM_PAGES} --max-old-space-size=100`;
const CONTEXT = 400;
const TOKENS = 16;

const model = await goldenModel("w8a8", 1);

describe.skipIf(model === null)("inside 100 MB of WebAssembly", () => {
  const before = process.env["MINIFLARE_WORKERD_V8_FLAGS"];
  beforeAll(() => {
    process.env["MINIFLARE_WORKERD_V8_FLAGS"] = V8_FLAGS;
  });
  afterAll(() => {
    if (before === undefined) delete process.env["MINIFLARE_WORKERD_V8_FLAGS"];
    else process.env["MINIFLARE_WORKERD_V8_FLAGS"] = before;
  });

  test("every exit loads, reads a long prompt and decodes", async () => {
    if (model === null) return;
    const worker = await startEngineWorker(model.folder);
    try {
      const { exits, heap_bytes } = await worker.call<LoadResult>("/load", {});
      expect(heap_bytes).toBeGreaterThan(0);
      for (const exit of exits) {
        const result = await worker.call<BenchResult>("/bench", { exit, context: CONTEXT, tokens: TOKENS });
        console.log(`${model.name}, exit ${exit}: WebAssembly heap ${(result.heap_bytes / 2 ** 20).toFixed(1)} MiB`);
        expect(result.heap_bytes).toBeLessThanOrEqual(WASM_PAGES * PAGE_BYTES);
      }
    } finally {
      await worker.stop();
    }
  });
});
