/** A progress line: redrawn in place on a terminal, one line a step elsewhere. */

/** Cells of the bar. */
const WIDTH = 24;

export function progressLine(stream: NodeJS.WriteStream): (done: number, total: number, label: string) => void {
  const started = performance.now();
  return (done, total, label) => {
    const filled = Math.round((done / total) * WIDTH);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const line = `[${"#".repeat(filled)}${"·".repeat(WIDTH - filled)}] ${done}/${total} ${seconds} s  ${label}`;
    if (!stream.isTTY) stream.write(`${line}\n`);
    else stream.write(`\r\u001b[K${line}${done === total ? "\n" : ""}`);
  };
}
