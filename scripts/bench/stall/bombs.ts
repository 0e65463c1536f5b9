/** Requests made to cost the most: what `npm run bench:stall` sends while another tenant asks something small. */

export interface Bomb {
  readonly name: string;
  readonly path: string;
  /** Sent as it is. */
  readonly body: string | Uint8Array;
}

/** Characters that a body of a megabyte has room for. */
const LARGE = 900_000;
/** More than fits beside any prompt: the request is read to its end, then refused. */
const TOO_MANY_TOKENS = 131_000;

const repeated = (unit: string, length: number): string =>
  unit.repeat(Math.ceil(length / unit.length)).slice(0, length);
const times = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));

/** @param model one that the origin answers @param controlToken a control token's spelling */
export function bombs(model: string, controlToken: string): Bomb[] {
  const completion = (name: string, body: object): Bomb => {
    return { name, path: "/v1/completions", body: JSON.stringify({ model, max_tokens: TOO_MANY_TOKENS, ...body }) };
  };
  const chat = (name: string, body: object): Bomb => {
    const json = { model, max_tokens: TOO_MANY_TOKENS, ...body };
    return { name, path: "/v1/chat/completions", body: JSON.stringify(json) };
  };
  const say = (content: unknown): object => ({ messages: [{ role: "user", content }] });
  const english = "The quick brown fox jumps over the lazy dog, while 3 of 12 others don't. ";
  return [
    completion("300,000 digits", { prompt: repeated("1234567890", 300_000) }),
    completion("one word of 900,000 letters", { prompt: repeated("abcdefghijklmnopqrstuvwxyz", LARGE) }),
    completion("900,000 spaces", { prompt: repeated(" ", LARGE) }),
    completion("16 prompts of 56,000 characters", { prompt: times(16, () => repeated(english, 56_000)) }),
    completion("130,000 token ids", { prompt: times(130_000, (at) => 300 + (at % 3_000)) }),
    completion("ids that are none", { prompt: times(130_000, () => -1) }),
    completion("combining marks", { prompt: repeated("e\u0301\u0323", 300_000) }),
    completion("emoji", { prompt: repeated("🙂👩‍👩‍👧", 220_000) }),
    chat("a chat of 900,000 characters", say(repeated(english, LARGE))),
    chat("control tokens spelled 100,000 times", say(repeated(controlToken, LARGE))),
    chat("2,048 messages", {
      messages: times(2_048, (at) => ({ role: at % 2 === 0 ? "user" : "assistant", content: repeated(english, 400) })),
    }),
    chat("20 messages of 1,300 parts", {
      messages: times(20, () => ({ role: "user", content: times(1_300, () => ({ type: "text", text: "" })) })),
    }),
    chat("100,000 members", { ...say("hi"), ...Object.fromEntries(times(60_000, (at) => [`k${at}`, 0])) }),
    chat("16,000 metadata pairs", {
      ...say("hi"),
      metadata: Object.fromEntries(times(16_000, (at) => [`k${at}`, "v"])),
    }),
    chat("half a million stop sequences", { ...say("hi"), stop: times(300_000, () => "") }),
    chat("a bias for every token", { ...say("hi"), logit_bias: Object.fromEntries(times(16_000, (at) => [at, 1])) }),
    chat("16 choices", { ...say(repeated(english, 20_000)), n: 16, max_tokens: 1 }),
    { name: "half a million brackets", path: "/v1/chat/completions", body: "[".repeat(500_000) },
    {
      name: "a megabyte of escapes",
      path: "/v1/chat/completions",
      body: `{"model":"${model}","messages":[{"role":"user","content":"${"\\u0031".repeat(160_000)}"}]}`,
    },
    { name: "not UTF-8", path: "/v1/chat/completions", body: new Uint8Array(LARGE).fill(0xff) },
  ];
}
