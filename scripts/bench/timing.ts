/** What a benchmark times, written once for workerd and Node: both bring their clock. */
import type { Engine } from "../../src/model/engine.ts";
import { release } from "../../src/model/release.ts";
import type { GraphSession, GraphTensors } from "../../src/model/runtime.ts";

/** Milliseconds since some fixed time. */
export type Clock = () => Promise<number>;

export interface EngineTimingOptions {
  readonly exit: number;
  /** Tokens of the prompt. */
  readonly context: number;
  /** Tokens decoded after it. */
  readonly tokens: number;
}

export interface EngineTiming {
  readonly prefill_ms: number;
  /** Prefill and the first logits. */
  readonly first_token_ms: number;
  readonly decode_ms_per_token: number;
}

/** Token ids that every vocabulary has. */
const FIRST_ID = 5;
const IDS = 200;

/** A prompt read and tokens decoded after it, one at a time with their logits; sampling is not part of it. */
export async function timeEngine(engine: Engine, options: EngineTimingOptions, clock: Clock): Promise<EngineTiming> {
  const { exit, context, tokens } = options;
  const id = (at: number): number => FIRST_ID + (at % IDS);
  const sequence = engine.newSequence(Array.from({ length: context }, (_, at) => id(at)));
  const started = await clock();
  await engine.advance(sequence, exit, context);
  const prefilled = await clock();
  await engine.logits(sequence, exit, [context - 1]);
  const first = await clock();
  for (let n = context; n < context + tokens; n++) {
    sequence.append([id(n)]);
    release(await engine.next(sequence, exit)); // as `generate` does
  }
  const ended = await clock();
  return {
    prefill_ms: prefilled - started,
    first_token_ms: first - started,
    decode_ms_per_token: (ended - first) / tokens,
  };
}

/** Any activations but zeros: some kernels would skip those. */
const ACTIVATION = 100;

function productInputs(session: GraphSession, widths: readonly number[]): GraphTensors {
  const tensor = (width: number) => session.tensor(new Float32Array(width).fill(ACTIVATION), [1, width]);
  return Object.fromEntries(widths.map((width) => [`values.${width}`, tensor(width)]));
}

/** Milliseconds a run of the products of one token. */
export async function timeProducts(
  session: GraphSession,
  widths: readonly number[],
  runs: number,
  clock: Clock,
): Promise<number> {
  const inputs = productInputs(session, widths);
  const started = await clock();
  for (let run = 0; run < runs; run++) await session.run(inputs);
  return ((await clock()) - started) / runs;
}

/** Runs the products until `milliseconds` have passed, at least once. */
export async function warmUpProducts(
  session: GraphSession,
  widths: readonly number[],
  clock: Clock,
  milliseconds: number,
): Promise<void> {
  const started = await clock();
  do await timeProducts(session, widths, 1, clock);
  while ((await clock()) - started < milliseconds);
}
