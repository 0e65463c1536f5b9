/** Gates 2 and 3 of one job, as the generate loop asks them. */
import { log } from "../log.ts";
import type { GenerateOptions } from "../model/generate.ts";
import { RunningConfidence, scoreDecode } from "../policy/decode-gate.ts";
import { scorePrefill } from "../policy/prefill-gate.ts";
import { decideLater } from "../policy/route.ts";
import type { Router } from "../policy/router.ts";
import type { EdgeJob } from "./job.ts";

/** Which exit goes on, and why. */
export interface Step {
  readonly exit: number;
  readonly reason: string;
}

/** The gates' state over one job: gate 2 climbs the ladder before the first token, gate 3 escalates once after it. */
export class JobGates {
  readonly #gates: NonNullable<EdgeJob["gates"]>;
  readonly #requestId: string;
  readonly #router: Router;
  readonly #running = new RunningConfidence();
  #prefillScore = 1;
  #escalated = false;
  #step: Step | null = null;
  #settled: Step | null = null;

  constructor(requestId: string, gates: NonNullable<EdgeJob["gates"]>, router: Router) {
    this.#requestId = requestId;
    this.#gates = gates;
    this.#router = router;
  }

  /** Where the loop that just stopped goes on. */
  get step(): Step | null {
    return this.#step;
  }

  /** Gate 2's last word, told once. */
  takeSettled(): Step | null {
    const settled = this.#settled;
    this.#settled = null;
    return settled;
  }

  /** What the loop asks while it runs at `exit`. */
  at(exit: number): GenerateOptions {
    const rung = this.#gates.ladder.findIndex((other) => other.exit === exit);
    const score = this.#gates.ladder[rung]?.score;
    if (score === undefined || this.#escalated) return {};
    const next = this.#gates.ladder[rung + 1]?.exit ?? this.#gates.prefill_to;
    const probe = this.#router.prefill.get(exit);
    const model = this.#router.decode.get(exit);
    return {
      afterPrefill: (seen) => {
        this.#prefillScore = probe === undefined ? 1 : scorePrefill(probe, score, seen);
        if (next === null) {
          this.#settled = this.#step; // the rung before sent it here; or gate 1, and nothing is left to say
          return "continue";
        }
        const { enough, reason } = decideLater("prefill", this.#prefillScore, this.#gates.target);
        this.#logShadow(exit, enough);
        this.#step = { exit: enough ? exit : next, reason };
        if (enough || !this.#onLadder(next)) this.#settled = this.#step;
        return enough ? "continue" : "handoff";
      },
      afterToken: ({ top1 }) => {
        if (model === undefined || exit >= this.#gates.decode_to) return "continue";
        const confidence = scoreDecode(model, this.#prefillScore, this.#running.push(top1));
        const { enough, reason } = decideLater("decode", confidence, this.#gates.target);
        if (enough) return "continue";
        this.#escalated = true;
        this.#step = { exit: this.#gates.decode_to, reason };
        this.#settled = this.#step;
        return "handoff";
      },
    };
  }

  /** What the shadow's gate 2 says of the same score. */
  #logShadow(exit: number, live: boolean): void {
    const { shadow } = this.#gates;
    if (shadow === null) return;
    const { enough, reason } = decideLater("prefill", this.#prefillScore, shadow);
    log("route.shadow", { request_id: this.#requestId, exit, enough, live_enough: live, reason });
  }

  #onLadder(exit: number): boolean {
    return this.#gates.ladder.some((rung) => rung.exit === exit);
  }
}
