/** What the Worker and a shard say to each other, besides the job (job.ts) and its stream (frames.ts). */

export const GENERATE_PATH = "/generate";
export const STATUS_PATH = "/status";
/** A generation request → 200 with a handoff of what the shard holds of it, or 204. */
export const STORED_PATH = "/stored";
/** Of stored state: the tokens that it spares the origin. */
export const SPARED_HEADER = "x-spared-tokens";
