/** The playground at `/`. */
import { render } from "preact";
import { FailureNote } from "../parts/failure-note.tsx";
import { AnswerCard } from "./answer-card.tsx";
import { Composer } from "./composer.tsx";
import { Controls } from "./controls.tsx";
import { examplesFor } from "./examples.ts";
import { deployment, deploymentFailure, draft, load, send, turns, type Turn } from "./state.ts";

function App() {
  return (
    <>
      <Top />
      <main>
        <Controls />
        <section class="talk" aria-label="Conversation">
          {deploymentFailure.value !== null && <FailureNote failure={deploymentFailure.value} />}
          {turns.value.length === 0 ? <Welcome /> : turns.value.map((turn) => <TurnView key={turn.id} turn={turn} />)}
          <Composer />
        </section>
      </main>
    </>
  );
}

function Top() {
  const served = deployment.value;
  return (
    <header class="top">
      <h1>Sortie</h1>
      {served !== null && (
        <p class="fine">
          {served.model} <code>{served.fingerprint}</code>, edge{" "}
          {served.edge === "unreachable" ? "unreachable" : "ready"}, origin {served.origin}
        </p>
      )}
      <nav>
        <a href="/openapi.json">API</a> <a href="/admin">Operator</a>
      </nav>
    </header>
  );
}

function Welcome() {
  const served = deployment.value;
  const edge = served?.edge_exits.join(" or ") ?? "…";
  return (
    <div class="welcome">
      <h2>One network, {served?.exits.length ?? "several"} places to stop</h2>
      <p>
        The first {edge} layers run here at the edge. Three gates watch the prompt and the answer; what is too hard goes
        on at the origin, which resumes where the edge stopped. You pay for the layers that ran.
      </p>
      <div class="examples">
        {examplesFor(served?.model ?? "").map((example) => (
          <button
            key={example}
            type="button"
            class="quiet"
            onClick={() => {
              draft.value = example;
              void send();
            }}
          >
            {example}
          </button>
        ))}
      </div>
    </div>
  );
}

function TurnView({ turn: { prompt, answers } }: { readonly turn: Turn }) {
  return (
    <div class="turn">
      <p class="prompt">{prompt}</p>
      <div class={answers.length > 1 ? "answers side-by-side" : "answers"} aria-live="polite">
        {answers.map((answer, index) => (
          <AnswerCard key={index} answer={answer} />
        ))}
      </div>
    </div>
  );
}

const root = document.getElementById("app");
if (root === null) throw new Error("the page has no place for the app");
render(<App />, root);
void load();
