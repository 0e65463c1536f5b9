/** An answer's text, each token tinted by its confidence and underlined by its exit. */
import type { Answer, Token } from "../client/answer.ts";
import { escalations } from "../client/route.ts";
import { percent } from "../parts/format.ts";
import { deployment } from "./state.ts";

export function TokenText({ answer }: { readonly answer: Answer }) {
  const { text, tokens } = answer;
  if (text === "") return null;
  // A stop sequence or an unfinished character: then tokens and text are not the same, and the text is right.
  const same = tokens.map((token) => token.text).join("") === text;
  const marks = new Map(escalations(answer).map(({ at, to }) => [at, to]));
  return (
    <p class="text">
      {same
        ? tokens.map((token, index) => [
            marks.has(index) && (
              <span key={`mark-${index}`} class="mark" title={`From here on exit ${marks.get(index)} answers`}>
                ↑{marks.get(index)}
              </span>
            ),
            <TokenSpan key={index} token={token} />,
          ])
        : text}
    </p>
  );
}

function TokenSpan({ token: { text, exit, confidence } }: { readonly token: Token }) {
  const index = deployment.value?.exits.indexOf(exit) ?? 0;
  return (
    <span
      class={`token exit-${Math.max(index, 0) % EXIT_COLOURS}`}
      style={{ "--doubt": 1 - confidence }}
      title={`exit ${exit}, ${percent(confidence)} sure`}
    >
      {text}
    </span>
  );
}

/** Colours that style.css has for exits; deeper ones begin anew. */
const EXIT_COLOURS = 6;
