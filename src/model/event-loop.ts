/** Turns of the event loop, without which neither streams flush nor aborts arrive while layers compute. */

/**
 * Begins a turn; the promise resolves when it has come. Begin it before a step and await it after: a timer takes at
 * least a millisecond in workerd (measured 1.1 ms, `setImmediate` included), and so passes while the step computes.
 * A message port would be quicker there, but its messages overtake I/O: streams and aborts wait behind them.
 */
export function beginTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => resolve());
  });
}
