/** What the `model` field of a request asks for. Pure. */

/** Which exit is wanted: the router's choice, or a fixed one. */
export type ExitPolicy =
  | { readonly kind: "auto"; /** null: not named in the id. */ readonly quality: number | null }
  | { readonly kind: "fixed"; readonly exit: number };

export type Selection =
  | { readonly ok: true; readonly policy: ExitPolicy }
  | { readonly ok: false; readonly reason: "unknown_model" | "unknown_exit" };

/** `auto@0.9`, `auto@1`: above 0, at most 1. */
const AUTO_SUFFIX = /^auto@(1(?:\.0{1,4})?|0\.[0-9]{1,4})$/;
const EXIT_SUFFIX = /^exit-([1-9][0-9]{0,3})$/;

/**
 * Reads `<name>`, `<name>:auto`, `<name>:auto@<quality>` or `<name>:exit-<k>`.
 * @param served the model's public name and the exits of its bundle, ascending
 */
export function selectModel(model: string, served: { name: string; exits: readonly number[] }): Selection {
  const [name, suffix, ...rest] = model.split(":");
  if (name !== served.name || rest.length > 0) return { ok: false, reason: "unknown_model" };
  if (suffix === undefined || suffix === "auto") return { ok: true, policy: { kind: "auto", quality: null } };
  const quality = Number(AUTO_SUFFIX.exec(suffix)?.[1]);
  if (quality > 0) return { ok: true, policy: { kind: "auto", quality } };
  const exit = Number(EXIT_SUFFIX.exec(suffix)?.[1]);
  if (!Number.isInteger(exit)) return { ok: false, reason: "unknown_model" };
  return served.exits.includes(exit)
    ? { ok: true, policy: { kind: "fixed", exit } }
    : { ok: false, reason: "unknown_exit" };
}

/** Every model id this deployment answers to: the router's two names first, then one a exit. */
export function modelIds(served: { name: string; exits: readonly number[] }): string[] {
  return [served.name, `${served.name}:auto`, ...served.exits.map((exit) => `${served.name}:exit-${exit}`)];
}
