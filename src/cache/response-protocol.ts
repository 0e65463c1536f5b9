/** What the Worker and the object of a tenant's response cache say to each other. */

export const ENTER_PATH = "/enter";
export const LEAD_PATH = "/lead";
export const PURGE_PATH = "/purge";

/** `hit`: the body is a stored answer; `follow`: the body is one under way; `lead`: nobody has it, compute it. */
export const ROLE_HEADER = "x-role";
/** The one who computes has no client any more: it goes on only as long as somebody reads along. */
export const LEFT_LINE = "left";
/** The last line of an answer that is whole and may be stored. */
export const STORE_LINE = "store";

/** Characters of a stored answer: 4 Ki tokens with their log-probabilities. An object's row holds 2 MB. */
export const MAX_LINES_BYTES = 1024 * 1024;
/** Characters of a tenant's stored answers together: the oldest go first. */
export const MAX_STORED_BYTES = 64 * 1024 * 1024;
/** Milliseconds in which one who is told to compute must begin to send. */
export const BEGIN_MS = 10_000;
