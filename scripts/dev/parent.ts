/** Notices that whoever started this process is gone: then nobody will stop it either. */

/** Milliseconds between two looks. */
const LOOK_EVERY_MS = 500;

/** Calls `gone` once, when this process's parent has ended. The look does not keep the process alive. */
export function whenParentEnds(gone: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    gone();
  }, LOOK_EVERY_MS);
  timer.unref();
}
