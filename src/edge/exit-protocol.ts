/** What the Worker and a shard say to each other, besides the job (job.ts) and its stream (frames.ts). */

export const GENERATE_PATH = "/generate";
/** Of a job: the checkpoint whose tokens are wanted. After a deployment a shard may run its old code for minutes. */
export const CHECKPOINT_HEADER = "x-checkpoint";
export const STATUS_PATH = "/status";
/** A generation request → 200 with a handoff of what the shard holds of it, or 204. */
export const STORED_PATH = "/stored";
/** Of stored state: the tokens that it spares the origin. */
export const SPARED_HEADER = "x-spared-tokens";
