/** Key, mode, exit and temperature. */
import { BudgetBar } from "../parts/bar.tsx";
import { percent } from "../parts/format.ts";
import {
  budgets,
  deployment,
  fixedExit,
  key,
  mode,
  quality,
  refreshBudgets,
  setKey,
  temperature,
  visitorKey,
  type Mode,
} from "./state.ts";

const MODES: readonly (readonly [Mode, string])[] = [
  ["router", "The router chooses"],
  ["fixed", "One fixed exit"],
  ["all", "All exits at once"],
];

export function Controls() {
  return (
    <section class="controls" aria-label="Settings">
      <KeyField />
      <fieldset>
        <legend>Who answers</legend>
        {MODES.map(([value, label]) => (
          <label key={value}>
            <input type="radio" name="mode" checked={mode.value === value} onChange={() => (mode.value = value)} />{" "}
            {label}
          </label>
        ))}
      </fieldset>
      {mode.value === "fixed" && <ExitField />}
      {mode.value === "router" && <QualityField />}
      <label>
        Temperature <output>{temperature.value.toFixed(1)}</output>
        <input
          type="range"
          min="0"
          max="1.5"
          step="0.1"
          value={temperature.value}
          onInput={(event) => (temperature.value = Number(event.currentTarget.value))}
        />
      </label>
      {budgets.value.map((budget) => (
        <BudgetBar key={`${budget.scope} ${budget.name}`} budget={budget} />
      ))}
      <Legend />
    </section>
  );
}

function KeyField() {
  const visitors = visitorKey.value !== null && key.value === visitorKey.value;
  return (
    <label>
      API key
      <input
        id="key"
        type="password"
        autocomplete="off"
        spellcheck={false}
        placeholder="sk-sortie-…"
        value={key.value}
        onInput={(event) => setKey(event.currentTarget.value)}
        onChange={() => void refreshBudgets()}
      />
      {visitors && <span class="fine">This deployment's key for visitors.</span>}
    </label>
  );
}

function ExitField() {
  const served = deployment.value;
  return (
    <label>
      Exit
      <select
        value={String(fixedExit.value)}
        onChange={(event) => (fixedExit.value = Number(event.currentTarget.value))}
      >
        {served?.exits.map((exit) => (
          <option key={exit} value={String(exit)}>
            {exit} layers, {served.edge_exits.includes(exit) ? "edge" : "origin"}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The slider's right end, and where it stands until it is moved. */
const FULL_QUALITY = 1;

function QualityField() {
  const told = quality.value === null ? "the deployment's" : percent(quality.value);
  return (
    <label>
      Quality to keep <output>{told}</output>
      <input
        type="range"
        min="0.7"
        max={FULL_QUALITY}
        step="0.01"
        value={quality.value ?? FULL_QUALITY}
        onInput={(event) => (quality.value = Number(event.currentTarget.value))}
      />
    </label>
  );
}

function Legend() {
  return (
    <div class="legend fine">
      <p>
        Underline: the exit that made the token.{" "}
        {deployment.value?.exits.map((exit, index) => (
          <span key={exit} class={`token exit-${index % 6}`}>
            {exit}
          </span>
        ))}
      </p>
      <p>
        Tint:{" "}
        <span class="token" style={{ "--doubt": 0 }}>
          sure
        </span>{" "}
        <span class="token" style={{ "--doubt": 0.5 }}>
          less
        </span>{" "}
        <span class="token" style={{ "--doubt": 1 }}>
          unsure
        </span>
      </p>
    </div>
  );
}
