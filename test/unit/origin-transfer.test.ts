/** Whether state is worth moving. */
import { expect, test } from "vitest";
import { decideTransfer, LinkMeter } from "../../src/origin/transfer.ts";

/** 1 MB at 10 MB/s are 100 ms; 600 token-layers at 3,000 a second are 200 ms. */
const INPUTS = { bytes: 1e6, tokenLayers: 600, bandwidth: 1e7, tokenLayersPerSecond: 3_000, extraMs: 0 };

test("the cheaper way is taken, and said with its cost", () => {
  expect(decideTransfer(INPUTS, "auto")).toEqual({ move: true, reason: "cheaper", moveMs: 100, computeMs: 200 });
  expect(decideTransfer({ ...INPUTS, bandwidth: 4e6 }, "auto")).toMatchObject({ move: false, reason: "dearer" });
  expect(decideTransfer({ ...INPUTS, extraMs: 150 }, "auto")).toMatchObject({ move: false, moveMs: 250 });
});

test("what is not measured is moved, and what is forced is done", () => {
  expect(decideTransfer({ ...INPUTS, bandwidth: null }, "auto")).toMatchObject({ move: true, reason: "unmeasured" });
  expect(decideTransfer({ ...INPUTS, tokenLayersPerSecond: null }, "auto")).toMatchObject({ move: true });
  expect(decideTransfer({ ...INPUTS, bandwidth: 1 }, "always")).toMatchObject({ move: true, reason: "forced" });
  expect(decideTransfer(INPUTS, "never")).toMatchObject({ move: false, reason: "forced" });
});

test("a link is measured by what goes over it: small bodies its round trip, large ones its bandwidth", () => {
  const link = new LinkMeter();
  for (let at = 0; at < 50; at++) {
    link.moved(500, 20);
    link.moved(1e6, 120);
    link.computed(6_000, 2_000);
    link.computed(10, 1_000); // too little to tell
  }
  expect(link.roundTripMs).toBeCloseTo(20);
  expect(link.bandwidth).toBeCloseTo(1e7);
  expect(link.tokenLayersPerSecond).toBeCloseTo(3_000);
});
