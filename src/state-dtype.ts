/** How hidden states, keys and values are kept and travel: blocks of the prefix cache, and handoffs. A leaf. */

/**
 * F32 is exact. F16 halves the bytes. I8: keys and values as integers with a scale a token and head (int8-rows.ts), hidden
 * states in F16; about a third of the bytes. Their order is the code in a sealed block (docs/protocol.md).
 */
export const STATE_DTYPES = ["F32", "F16", "I8"] as const;
export type StateDtype = (typeof STATE_DTYPES)[number];
