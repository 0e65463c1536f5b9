/** What an origin says of an answer, held against what it was asked: a lie ends the answer, and reaches no client. */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import { OriginError } from "./origin-error.ts";

/** The checkpoint that answers. */
export interface Answering {
  /** Ids are below it. */
  readonly vocabulary: number;
  /** Ascending. */
  readonly exits: readonly number[];
}

export class AnswerCheck {
  readonly #request: GenerationRequest;
  readonly #answering: Answering | undefined;
  /** Tokens so far by exit layer, to hold the usage against. */
  readonly #tokensByExit = new Map<number, number>();
  #tokens = 0;

  /** @param answering undefined: ids and exits are not known, and not checked */
  constructor(request: GenerationRequest, answering: Answering | undefined) {
    this.#request = request;
    this.#answering = answering;
  }

  get tokens(): number {
    return this.#tokens;
  }

  /** @throws {OriginError} `malformed` */
  check(event: TokenEvent): void {
    if (event.type === "token") this.#checkToken(event);
    else this.#checkEnd(event);
  }

  get #promptTokens(): number {
    return this.#request.token_ids.length - this.#request.answer_tokens;
  }

  #checkToken(event: Extract<TokenEvent, { type: "token" }>): void {
    const { id, exit, cached_tokens: cached, top_logprobs: top = [] } = event;
    this.#tokens += 1;
    this.#tokensByExit.set(exit, (this.#tokensByExit.get(exit) ?? 0) + 1);
    if (this.#tokens > this.#request.max_tokens) throw wrong("more tokens than were asked for");
    if (exit > this.#request.exit_layer || this.#answering?.exits.includes(exit) === false) {
      throw wrong(`a token of exit ${exit}`);
    }
    if (cached !== undefined && cached > this.#promptTokens) throw wrong("more cached tokens than the prompt has");
    if (top.length > this.#request.top_logprobs) throw wrong("more top_logprobs than were asked for");
    const foreign = [id, ...top.map((one) => one.id)].find((one) => one >= (this.#answering?.vocabulary ?? Infinity));
    if (foreign !== undefined) throw wrong(`the vocabulary has no token ${foreign}`);
  }

  #checkEnd({ usage }: Extract<TokenEvent, { type: "end" }>): void {
    const claimed = Object.entries(usage.completion_tokens_by_exit).filter(([, count]) => count > 0);
    const agrees = claimed.every(([exit, count]) => this.#tokensByExit.get(Number(exit)) === count);
    if (!agrees || claimed.length !== this.#tokensByExit.size) throw wrong("usage disagrees with the tokens sent");
    if (usage.prompt_tokens !== this.#promptTokens) throw wrong("prompt tokens other than were sent");
    if (usage.cached_tokens > usage.prompt_tokens) throw wrong("more cached tokens than the prompt has");
  }
}

const wrong = (message: string): OriginError => new OriginError("malformed", `the answer is wrong: ${message}`);
