/** Which exits may answer a request: what its model id names, its tenant and key allow, and the deployment has. Pure. */
import { ApiError } from "./errors.ts";
import type { Circumstances } from "./policy/route.ts";
import { selectModel, type ExitPolicy } from "./policy/selection.ts";
import type { Caller } from "./tenant/api.ts";
import { allowedExits } from "./tenant/policy.ts";

export interface Deployment extends Circumstances {
  /** The model's public name. */
  readonly name: string;
}

export interface ExitsAsked {
  readonly policy: ExitPolicy;
  /** The deployment as the request sees it: only the exits that its tenant and key allow. */
  readonly circumstances: Circumstances;
  /** Those of them that a tier here serves, ascending, at least one: what must be paid for. */
  readonly payable: readonly number[];
}

/**
 * @param model as sent: `<name>`, `<name>:auto`, `<name>:exit-<k>`
 * @throws ApiError 404 `model_not_found`, 403 `exit_not_allowed`
 */
export function exitsAsked(model: string, caller: Caller, deployment: Deployment): ExitsAsked {
  const policy = exitPolicy(model, deployment);
  const allowed = allowedExits(deployment.exits, caller.policy, caller.limits);
  const circumstances = within(deployment, (exit) => allowed.includes(exit));
  if (policy.kind === "fixed") {
    if (allowed.includes(policy.exit)) return { policy, circumstances, payable: [policy.exit] };
    throw notAllowed(`Your key may not use exit ${policy.exit}. It may use ${allowed.join(", ") || "none"}.`);
  }
  const payable = deployment.originConfigured ? circumstances.exits : circumstances.edgeExits;
  if (payable.length > 0) return { policy, circumstances, payable };
  throw notAllowed(`None of the exits that your key may use (${allowed.join(", ") || "none"}) is served here.`);
}

/** The deployment as if it had no exit deeper than one; null: as it is. */
export function limitDepth(circumstances: Circumstances, maxExit: number | null): Circumstances {
  return maxExit === null ? circumstances : within(circumstances, (exit) => exit <= maxExit);
}

function within({ exits, edgeExits, originConfigured }: Circumstances, has: (exit: number) => boolean): Circumstances {
  return { exits: exits.filter(has), edgeExits: edgeExits.filter(has), originConfigured };
}

function exitPolicy(model: string, { name, exits }: Deployment): ExitPolicy {
  const selection = selectModel(model, { name, exits });
  if (selection.ok) return selection.policy;
  const hint =
    selection.reason === "unknown_exit"
      ? `its exits are ${exits.join(", ")}`
      : `this deployment serves ${name}, see GET /v1/models`;
  throw new ApiError(`The model ${JSON.stringify(model)} does not exist: ${hint}.`, {
    status: 404,
    type: "invalid_request_error",
    code: "model_not_found",
    param: "model",
  });
}

function notAllowed(message: string): ApiError {
  return new ApiError(message, { status: 403, type: "permission_error", code: "exit_not_allowed", param: "model" });
}
