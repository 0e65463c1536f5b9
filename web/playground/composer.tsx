/** The prompt: Enter asks, Shift+Enter is a new line, Escape stops. */
import { useEffect, useRef } from "preact/hooks";
import { busy, draft, send, startOver, stop, turns } from "./state.ts";

export function Composer() {
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    field.current?.focus();
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Escape") stop();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <label class="grow">
        <span class="hidden">Prompt</span>
        <textarea
          ref={field}
          rows={2}
          placeholder="Ask something. Enter sends, Escape stops."
          value={draft.value}
          onInput={(event) => (draft.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            void send();
          }}
        />
      </label>
      {busy.value ? (
        <button type="button" onClick={stop}>
          Stop
        </button>
      ) : (
        <button type="submit" disabled={draft.value.trim() === ""}>
          Ask
        </button>
      )}
      <button type="button" class="quiet" disabled={turns.value.length === 0} onClick={startOver}>
        New
      </button>
    </form>
  );
}
