/** What is wrong with a body, in one error of OpenAI's form. */
import type { z } from "zod";
import { ApiError } from "../errors.ts";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** Characters of a value or name quoted back. */
const MAX_QUOTE_CHARS = 64;

/**
 * The first issue as an `invalid_request_error`.
 * @param body the value that was parsed: its issues name types that only it can tell
 */
export function requestError(error: z.ZodError, body: unknown): ApiError {
  const issue = error.issues[0];
  const { message, code, param } = issue
    ? describe(issue, [], body)
    : { message: "Invalid body.", code: null, param: null };
  return new ApiError(message, { status: 400, type: "invalid_request_error", code, param });
}

interface Description {
  readonly message: string;
  readonly code: string | null;
  readonly param: string | null;
}

/** @param base where the issue's path begins */
function describe(issue: Issue, base: Path, body: unknown): Description {
  const path = [...base, ...issue.path];
  const param = formatPath(path);
  const at = param === "" ? "the body" : `'${param}'`;
  const value = valueAt(body, path);
  const say = (message: string, code: string): Description => ({ message, code, param: param === "" ? null : param });
  if (value === undefined && issue.code !== "unrecognized_keys" && issue.code !== "custom") {
    return say(`Missing required parameter: ${at}.`, "missing_required_parameter");
  }
  switch (issue.code) {
    case "unrecognized_keys": {
      const unknown = formatPath([...path, issue.keys[0] ?? ""]);
      return { message: `Unknown parameter: '${unknown}'.`, code: "unknown_parameter", param: unknown };
    }
    case "invalid_union": {
      const inner = closestBranch(issue.errors);
      return inner ? describe(inner, path, body) : say(invalidType(at, unionOf(issue.errors), value), "invalid_type");
    }
    case "invalid_type":
      return say(invalidType(at, issue.expected, value), "invalid_type");
    case "invalid_value": {
      const values = issue.values.map((allowed) => JSON.stringify(allowed)).join(", ");
      return say(`Invalid value for ${at}: ${quoted(value)}. Supported values are: ${values}.`, "invalid_value");
    }
    case "too_small":
    case "too_big":
      return say(...outOfBounds(issue, at, value));
    case "custom":
      if (issue.params?.["code"] === "unsupported_parameter") {
        return say(`Unsupported parameter: ${at} is not supported by this server.`, "unsupported_parameter");
      }
      return say(`Invalid ${at}: ${issue.message}.`, "invalid_value");
    default:
      return say(`Invalid ${at}: ${issue.message}.`, "invalid_value");
  }
}

/** The issue of the branch that fits at the top and fails inside: what the caller meant. */
function closestBranch(branches: readonly (readonly Issue[])[]): Issue | undefined {
  const inside = branches.find((issues) => issues[0] !== undefined && issues[0].code !== "invalid_type");
  return (inside ?? branches.find((issues) => (issues[0]?.path.length ?? 0) > 0))?.[0];
}

function unionOf(branches: readonly (readonly Issue[])[]): string {
  return branches.map(([issue]) => (issue?.code === "invalid_type" ? issue.expected : "value")).join(" or ");
}

function invalidType(at: string, expected: string, value: unknown): string {
  const wanted = expected === "int" ? "integer" : expected;
  return `Invalid type for ${at}: expected ${wanted}, but got ${typeName(value)} instead.`;
}

function outOfBounds(
  issue: Extract<Issue, { code: "too_small" | "too_big" }>,
  at: string,
  value: unknown,
): [message: string, code: string] {
  const small = issue.code === "too_small";
  const bound = Number(small ? issue.minimum : issue.maximum);
  const sign = `${small ? ">" : "<"}${issue.inclusive === false ? "" : "="}`;
  const side = small ? "below_min" : "above_max";
  if (Array.isArray(value)) {
    const code = small && value.length === 0 ? "empty_array" : `array_${side}_length`;
    return [`Invalid ${at}: expected an array of length ${sign} ${bound}, but got length ${value.length}.`, code];
  }
  if (typeof value === "string") {
    const code = small && value === "" ? "empty_string" : `string_${side}_length`;
    return [`Invalid ${at}: expected a string of length ${sign} ${bound}, but got length ${value.length}.`, code];
  }
  const kind = Number.isInteger(value) ? "integer" : "decimal";
  return [`Invalid ${at}: expected a value ${sign} ${bound}, but got ${quoted(value)}.`, `${kind}_${side}_value`];
}

/** `messages[0].content` */
function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    return text === "" ? quote(String(step)) : `${text}.${quote(String(step))}`;
  }, "");
}

function valueAt(body: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, step) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, step)
        ? (value as Record<PropertyKey, unknown>)[step]
        : undefined,
    body,
  );
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function quoted(value: unknown): string {
  return quote(JSON.stringify(value) ?? "nothing");
}

function quote(text: string): string {
  return text.length > MAX_QUOTE_CHARS ? `${text.slice(0, MAX_QUOTE_CHARS)}…` : text;
}
