/** What tokens cost at an exit, and the most a request can cost. Pure integer arithmetic. */
import type { MicroUsd } from "../money.ts";
import type { Price, PriceList } from "./policy.ts";

/** Prices are per so many tokens. */
const PRICE_TOKENS = 1_000_000;

/** What a deployment charges when tenants.toml names no price. */
export const DEFAULT_PRICES: PriceList = {
  full_depth: { input: 100_000, cached_input: 50_000, output: 400_000 }, // $0.10, $0.05, $0.40 per million tokens
  exits: {},
};

/** Tokens of one request at one exit. */
export interface ExitTokens {
  readonly exit: number;
  readonly tier: "edge" | "origin";
  /** Prompt tokens, the cached ones among them. */
  readonly promptTokens: number;
  /** Prompt tokens that an earlier request had computed. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** {@link ExitTokens} and their cost: one usage record. */
export interface UsageLine extends ExitTokens {
  readonly cost: MicroUsd;
}

/**
 * Micro-dollars per million tokens at an exit: as configured, otherwise in proportion to the layers that run, rounded up.
 * @param deepest the deployment's deepest exit, which costs the full price
 */
export function priceOf(prices: PriceList, exit: number, deepest: number): Price {
  const own = prices.exits[String(exit)];
  if (own) return own;
  const part = (full: number): number => Math.ceil((full * exit) / deepest);
  const { input, cached_input: cached, output } = prices.full_depth;
  return { input: part(input), cached_input: part(cached), output: part(output) };
}

/**
 * Prices a request's tokens. The sum is rounded up once, so it never passes {@link upperBound} of the same tokens.
 */
export function priced(prices: PriceList, deepest: number, tokens: readonly ExitTokens[]): UsageLine[] {
  let exact = 0; // millionths of a micro-dollar
  let charged = 0;
  return tokens.map((line) => {
    const price = priceOf(prices, line.exit, deepest);
    const fresh = line.promptTokens - line.cachedTokens;
    exact += fresh * price.input + line.cachedTokens * price.cached_input + line.completionTokens * price.output;
    const cost = Math.ceil(exact / PRICE_TOKENS) - charged;
    charged += cost;
    return { ...line, cost };
  });
}

/** What the deepest exit would charge for the tokens of one request. */
export function fullDepthCost(prices: PriceList, deepest: number, tokens: readonly ExitTokens[]): MicroUsd {
  const lines = priced(
    prices,
    deepest,
    tokens.map((line) => ({ ...line, exit: deepest })),
  );
  return lines.reduce((sum, { cost }) => sum + cost, 0);
}

/** What of the price of its tokens a stored answer costs, when tenants.toml does not say. */
const HIT_PERCENT = 10;

/** Prices an answer that another request has computed. @param tokens the prompt's all cached */
export function pricedHit(prices: PriceList, deepest: number, tokens: readonly ExitTokens[]): UsageLine[] {
  const percent = prices.hit_percent ?? HIT_PERCENT;
  return priced(prices, deepest, tokens).map((line) => ({ ...line, cost: Math.ceil((line.cost * percent) / 100) }));
}

/**
 * The most a request can cost when only these exits may run it, whichever of them does and whatever is cached.
 * @param maxTokens of all its choices together
 */
export function upperBound(
  prices: PriceList,
  exits: readonly number[],
  deepest: number,
  promptTokens: number,
  maxTokens: number,
): MicroUsd {
  const all = exits.map((exit) => priceOf(prices, exit, deepest));
  const input = Math.max(...all.map((price) => Math.max(price.input, price.cached_input)));
  const output = Math.max(...all.map((price) => price.output));
  return Math.ceil((promptTokens * input + maxTokens * output) / PRICE_TOKENS);
}

/** One way to serve a request: how deep, how long, and the most that costs. */
export interface Offer {
  readonly maxExit: number;
  /** Of one choice. */
  readonly maxTokens: number;
  /** Prompts and choices together. */
  readonly tokens: number;
  readonly bound: MicroUsd;
}

/** How large a request may get. */
export interface RequestSize {
  /** Of all prompts, each counted once. */
  readonly promptTokens: number;
  /** The most tokens of each choice of each prompt, at least one. */
  readonly choices: readonly number[];
  /** The caller left the length open. */
  readonly mayShorten: boolean;
}

/** Tokens below which a shortened answer is not worth having. */
const MIN_SHORTENED_TOKENS = 16;

/**
 * The ways to serve a request, best first: the full answer from the deepest exit to the shallowest; then, where its
 * length may be shortened, ever shorter answers at the shallowest.
 * @param exits the exits that may answer, ascending, at least one
 */
export function offers(prices: PriceList, exits: readonly number[], deepest: number, size: RequestSize): Offer[] {
  const { promptTokens, choices } = size;
  const offer = (depth: number, maxTokens: number): Offer => {
    const within = exits.slice(0, depth);
    const completion = choices.reduce((sum, tokens) => sum + Math.min(tokens, maxTokens), 0);
    const bound = upperBound(prices, within, deepest, promptTokens, completion);
    return { maxExit: Math.max(...within), maxTokens, tokens: promptTokens + completion, bound };
  };
  const longest = Math.max(...choices);
  const list = exits.map((_, index) => offer(exits.length - index, longest));
  if (!size.mayShorten) return list;
  for (let tokens = longest >> 1; tokens >= MIN_SHORTENED_TOKENS; tokens >>= 1) list.push(offer(1, tokens));
  return list;
}
