/** What a policy says that no schema can refuse: limits that contradict each other, exits that the model does not have. Pure. */
import type { Narrowing } from "../narrowing.ts";
import { allowedExits, type KeyLimits, type Policy } from "./policy.ts";

export interface Fault {
  /** Where, as the admin API has it. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** A declared or new key, as far as its limits go. */
interface Limited {
  readonly limits: KeyLimits;
}

/** Faults of a tenant's declaration, outermost first. @param exits of the model, ascending */
export function declarationFaults(
  { policy, keys }: { readonly policy: Policy; readonly keys: readonly Limited[] },
  exits: readonly number[],
): Fault[] {
  const own = [
    ...narrowingFaults(policy, policy.exits, exits).map((fault) => under(["policy"], fault)),
    ...policy.budgets.flatMap(({ soft_limits: steps }, budget) =>
      steps.flatMap(({ max_exit: exit }, at) =>
        missing(exit, exits, ["policy", "budgets", budget, "soft_limits", at, "max_exit"]),
      ),
    ),
    ...Object.keys(policy.prices.exits).flatMap((exit) =>
      missing(Number(exit), exits, ["policy", "prices", "exits", exit]),
    ),
  ];
  if (own.length > 0) return own;
  return keys.flatMap(({ limits }, at) =>
    keyFaults(limits, policy, exits).map((fault) => under(["keys", at, "limits"], fault)),
  );
}

/** Faults of one key's limits within its tenant's policy. */
export function keyFaults(
  limits: KeyLimits,
  policy: Pick<Policy, "exits" | keyof Narrowing>,
  exits: readonly number[],
): Fault[] {
  const own = narrowingFaults(limits, limits.exits, exits);
  if (own.length > 0) return own;
  const left = allowedExits(exits, policy, limits).filter((exit) => within(exit, policy) && within(exit, limits));
  const message = "the key and its tenant have no exit in common, so nobody could use the key";
  return left.length === 0 ? [{ path: [], message }] : [];
}

function narrowingFaults(
  { min_exit: min, max_exit: max }: Narrowing,
  only: readonly number[] | null,
  exits: readonly number[],
): Fault[] {
  const named = [
    ...(only ?? []).flatMap((exit, at) => missing(exit, exits, ["exits", at])),
    ...(min == null ? [] : missing(min, exits, ["min_exit"])),
    ...(max == null ? [] : missing(max, exits, ["max_exit"])),
  ];
  if (named.length > 0) return named;
  if (min != null && max != null && min > max) {
    return [{ path: ["min_exit"], message: `is deeper than max_exit (${max}), so no exit is left` }];
  }
  const left = (only ?? exits).filter((exit) => within(exit, { min_exit: min, max_exit: max }));
  return left.length === 0 ? [{ path: ["exits"], message: "leave no exit between min_exit and max_exit" }] : [];
}

function within(exit: number, { min_exit: min, max_exit: max }: Narrowing): boolean {
  return exit >= (min ?? 0) && exit <= (max ?? Infinity);
}

function missing(exit: number, exits: readonly number[], path: Fault["path"]): Fault[] {
  if (exits.includes(exit)) return [];
  return [{ path, message: `exit ${exit} does not exist; the model's exits are ${exits.join(", ")}` }];
}

function under(path: Fault["path"], fault: Fault): Fault {
  return { ...fault, path: [...path, ...fault.path] };
}
