/**
 * The Analytics Engine dataset `sortie_requests`: one point a request that got an answer. docs/telemetry.md has the
 * columns and queries; a column never changes its meaning, new ones come at the end.
 */
import { genAiAttributes, outputTokens, perTokenMs, routeParts, type AnswerRecord } from "./request-event.ts";

/** The platform's point, as far as it is used: one index, up to 20 blobs and doubles. */
export interface DataPoint {
  readonly indexes: readonly [string];
  readonly blobs: readonly string[];
  readonly doubles: readonly number[];
}

export function dataPoint(record: AnswerRecord): DataPoint {
  const { gate, reason, score } = routeParts(record.route);
  return {
    indexes: [record.tenant],
    blobs: [
      record.ending, // blob1
      record.tier, // blob2
      String(record.exit), // blob3
      gate, // blob4
      reason, // blob5
      record.cache ?? "none", // blob6
      String(genAiAttributes(record)["gen_ai.operation.name"]), // blob7
      record.requestModel, // blob8
      record.fingerprint, // blob9
      record.keyId, // blob10
    ],
    doubles: [
      record.inputTokens, // double1
      record.cachedTokens, // double2
      outputTokens(record), // double3
      record.cost, // double4, micro-dollars
      record.fullDepthCost, // double5, micro-dollars
      record.firstTokenMs ?? -1, // double6
      perTokenMs(record) ?? -1, // double7
      record.durationMs, // double8
      score ?? -1, // double9
      record.firstExit, // double10
    ],
  };
}
