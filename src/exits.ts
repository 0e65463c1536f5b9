/** Which exits may answer a request: what its model id names, its tenant and key allow, and the deployment has. Pure. */
import { ApiError } from "./errors.ts";
import type { ChatRequest } from "./conversation.ts";
import { narrowest, type Narrowing } from "./narrowing.ts";
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
  /** The quality to keep; null: nobody named one. */
  readonly quality: number | null;
  /** The deployment as the request sees it: only the exits that tenant, key and request allow. */
  readonly circumstances: Circumstances;
  /** Those of them that a tier here serves, ascending, at least one: what must be paid for. */
  readonly payable: readonly number[];
}

/**
 * @param request its model id as sent, and its own limits
 * @throws ApiError 404 `model_not_found`, 403 `exit_not_allowed`, 400 when the request's own limits leave no exit
 */
export function exitsAsked(
  { model, narrowing }: Pick<ChatRequest, "model" | "narrowing">,
  caller: Caller,
  deployment: Deployment,
): ExitsAsked {
  const policy = exitPolicy(model, deployment);
  const named: Narrowing = policy.kind === "auto" && policy.quality !== null ? { quality: policy.quality } : {};
  const own = narrowest(narrowing);
  const inOwn = (exit: number): boolean => exit >= own.minExit && exit <= own.maxExit;
  const wanted = policy.kind === "fixed" ? [policy.exit] : deployment.exits;
  if (!wanted.some(inOwn)) throw noneLeft(deployment.exits);
  const limits = narrowest(caller.policy, caller.limits);
  const allowed = allowedExits(deployment.exits, caller.policy, caller.limits).filter(
    (exit) => exit >= limits.minExit && exit <= limits.maxExit,
  );
  const { quality } = narrowest(narrowing, named, caller.policy, caller.limits);
  const circumstances = within(deployment, (exit) => allowed.includes(exit) && inOwn(exit));
  if (policy.kind === "fixed") {
    if (allowed.includes(policy.exit)) return { policy, quality, circumstances, payable: [policy.exit] };
    throw notAllowed(`Your key may not use exit ${policy.exit}. It may use ${allowed.join(", ") || "none"}.`);
  }
  const payable = deployment.origin === "absent" ? circumstances.edgeExits : circumstances.exits;
  if (payable.length > 0) return { policy, quality, circumstances, payable };
  throw notAllowed(
    `None of the exits that your key may use (${allowed.join(", ") || "none"}) is served for this request.`,
  );
}

/** The deployment as if it had no exit deeper than one; null: as it is. */
export function limitDepth(circumstances: Circumstances, maxExit: number | null): Circumstances {
  return maxExit === null ? circumstances : within(circumstances, (exit) => exit <= maxExit);
}

function within({ exits, edgeExits, origin, edge }: Circumstances, has: (exit: number) => boolean): Circumstances {
  return { exits: exits.filter(has), edgeExits: edgeExits.filter(has), origin, edge };
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

function noneLeft(exits: readonly number[]): ApiError {
  return new ApiError(`'sortie' leaves no exit: min_exit and max_exit must let one of ${exits.join(", ")} through.`, {
    status: 400,
    type: "invalid_request_error",
    code: "no_exit_left",
    param: "sortie",
  });
}

function notAllowed(message: string): ApiError {
  return new ApiError(message, { status: 403, type: "permission_error", code: "exit_not_allowed", param: "model" });
}
