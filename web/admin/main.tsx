/** The operator's page at `/admin`. */
import { render } from "preact";
import { useState } from "preact/hooks";
import { FailureNote } from "../parts/failure-note.tsx";
import { Overview } from "./overview.tsx";
import { failure, health, keepFresh, signIn, signOut, tenants, token } from "./state.ts";
import { Tenants } from "./tenants.tsx";

function App() {
  const signedIn = token.value !== "" && tenants.value !== null;
  return (
    <>
      <header class="top">
        <h1>Sortie operator</h1>
        {health.value !== null && signedIn && (
          <p class="fine">
            {health.value.model} <code>{health.value.fingerprint}</code>, origin {health.value.origin}
            {health.value.calibrated ? ", calibrated" : ", not calibrated"}
          </p>
        )}
        <nav>
          <a href="/">Playground</a>
        </nav>
        {signedIn && (
          <button type="button" class="quiet" onClick={signOut}>
            Sign out
          </button>
        )}
      </header>
      <main class="wide">
        {failure.value !== null && <FailureNote failure={failure.value} />}
        {signedIn ? (
          <>
            <Overview />
            <Tenants />
          </>
        ) : (
          <SignIn />
        )}
      </main>
    </>
  );
}

function SignIn() {
  const [text, setText] = useState("");
  return (
    <form
      class="panel sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        void signIn(text);
      }}
    >
      <label>
        Admin token
        <input
          type="password"
          autocomplete="off"
          required
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <button type="submit">Sign in</button>
      <p class="fine">The secret ADMIN_TOKEN of this deployment. It stays in this tab.</p>
    </form>
  );
}

const root = document.getElementById("app");
if (root === null) throw new Error("the page has no place for the app");
render(<App />, root);
keepFresh();
