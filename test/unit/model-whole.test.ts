/** The network in one session: what a run is asked for, and what is left of it. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Network } from "../../src/model/network.ts";
import type { GraphSession, GraphTensors } from "../../src/model/runtime.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { wholeNetwork } from "../../src/model/whole.ts";
import { KV_WIDTH, mockModel, VOCABULARY, WIDTH } from "./model-mock.ts";

const { bundle } = mockModel(); // layers 1, 2–3 and 4
const TOKENS = 3;
const SPAN = { first: 0, last: 1, start: 0, end: TOKENS };

/** Elements of each input and the outputs wanted, a run each. */
let asked: { elements: Record<string, number>; flags: string[]; wanted: readonly string[] }[];
let answers: GraphTensors[];
let broken: boolean;
let network: Network;
let sequence: Sequence;

const session: GraphSession = {
  inputNames: [],
  outputNames: [],
  tensor: (data, dims) => ({ data, dims }),
  run(inputs, wanted = []) {
    const all = Object.entries(inputs);
    const flags = all.filter(([, { dims }]) => dims.length === 0);
    asked.push({
      elements: Object.fromEntries(
        all.filter(([, { dims }]) => dims.length > 0).map(([n, { data }]) => [n, data.length]),
      ),
      flags: flags.filter(([, { data }]) => data[0] === 1).map(([name]) => name),
      wanted,
    });
    if (broken) return Promise.reject(new Error("broken"));
    const sizeOf = (name: string): number[] => {
      if (name === "logits") return [1, TOKENS, VOCABULARY];
      return name.startsWith("hidden") ? [1, TOKENS, WIDTH] : [name === "new_state.1" ? 4 : 2, TOKENS, KV_WIDTH];
    };
    const made = Object.fromEntries(
      wanted.map((name) => {
        const dims = sizeOf(name);
        return [name, { data: new Float32Array(dims.reduce((product, dim) => product * dim)).fill(1), dims }];
      }),
    );
    answers.push(made);
    return Promise.resolve(made);
  },
  dispose: () => Promise.resolve(),
};

beforeEach(() => {
  [asked, answers, broken] = [[], [], false];
  network = wholeNetwork(session, bundle);
  sequence = new Sequence(bundle);
  sequence.append([1, 2, 3, 4]);
});

const IDLE = { past_k: [0, 0, 0, 0], past_v: [0, 0, 0, 0], input_ids: 0, position_ids: 0, hidden_state: 0 };

/** What the last run was given, layers in order. */
function last() {
  const { elements, flags, wanted } = asked.at(-1)!;
  const layers = (name: string) => [0, 1, 2, 3].map((layer) => elements[`${name}.${layer}`]);
  const { input_ids, position_ids, hidden_state } = elements;
  return { past_k: layers("past_k"), past_v: layers("past_v"), input_ids, position_ids, hidden_state, flags, wanted };
}

describe("a network in one session", () => {
  it("gives the segments that run what they made before, and the others nothing", async () => {
    await network.run(sequence, SPAN, false);
    const wanted = ["hidden_state_out.0", "new_state.0", "hidden_state_out.1", "new_state.1"];
    const first = { ...IDLE, input_ids: 3, position_ids: 3, flags: ["run.0", "run.1"], wanted };
    expect(last()).toEqual(first);
    const held = 3 * KV_WIDTH;
    await network.run(sequence, { first: 0, last: 0, start: 3, end: 4 }, true);
    expect(last()).toEqual({
      ...IDLE,
      past_k: [held, 0, 0, 0],
      past_v: [held, 0, 0, 0],
      input_ids: 1,
      position_ids: 1,
      flags: ["head", "run.0"],
      wanted: ["logits", "hidden_state_out.0", "new_state.0"],
    });
  });

  it("is idle again after a run, broken ones too", async () => {
    await network.run(sequence, SPAN, true);
    broken = true;
    await expect(network.run(sequence, { first: 0, last: 1, start: 3, end: 4 }, true)).rejects.toThrow("broken");
    broken = false;
    const beyond = network.run(sequence, { first: 1, last: 1, start: 3, end: 4 }, true);
    await expect(beyond).rejects.toMatchObject({ fault: "no_state" }); // after the first of its inputs was set
    await network.head(new Float32Array(2 * WIDTH));
    expect(last()).toEqual({ ...IDLE, hidden_state: 2 * WIDTH, flags: ["head"], wanted: ["logits"] });
  });

  it("releases what it has stored, and leaves the logits to the caller", async () => {
    const logits = await network.run(sequence, SPAN, true);
    const lengths = Object.fromEntries(Object.entries(answers[0]!).map(([name, { data }]) => [name, data.length]));
    expect(lengths).toEqual({
      logits: TOKENS * VOCABULARY,
      "hidden_state_out.0": 0,
      "new_state.0": 0,
      "hidden_state_out.1": 0,
      "new_state.1": 0,
    });
    expect(logits).toHaveLength(TOKENS * VOCABULARY);
    expect(sequence.hidden(1, 0, TOKENS)).toEqual(new Float32Array(TOKENS * WIDTH).fill(1));
    expect(sequence.past(1, 2).values).toEqual(new Float32Array(TOKENS * KV_WIDTH).fill(1));
  });
});
