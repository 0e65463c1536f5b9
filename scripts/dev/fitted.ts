/** The example's tenants for whatever checkpoint is served: soft limits name exits of models/tiny. Pure. */
import type { Declaration } from "../../src/api/admin-schemas.ts";

/** A declaration without the soft limits whose exit the model does not have. */
export function fitted(declaration: Declaration, exits: readonly number[]): Declaration {
  const budgets = declaration.policy.budgets.map((budget) => {
    return { ...budget, soft_limits: budget.soft_limits.filter(({ max_exit: exit }) => exits.includes(exit)) };
  });
  return { ...declaration, policy: { ...declaration.policy, budgets } };
}
