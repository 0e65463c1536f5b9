/** Each tenant: its budgets, what it used, its keys; keys are made and revoked here, and a limit changed. */
import { useState } from "preact/hooks";
import { BudgetBar } from "../parts/bar.tsx";
import { instant, usd, whole } from "../parts/format.ts";
import { StackedBars } from "../parts/stacked-bars.tsx";
import { dayBars, savedUsd } from "./figures.ts";
import { createKey, health, newKey, revokeKey, setLimit, tenants, type Tenant } from "./state.ts";

export function Tenants() {
  return (
    <>
      {tenants.value?.map((tenant) => (
        <TenantPanel key={tenant.body.name} tenant={tenant} />
      ))}
    </>
  );
}

function TenantPanel({ tenant: { body, usage } }: { readonly tenant: Tenant }) {
  const { name, closed_at, budgets, running_requests: running } = body;
  const deepest = health.value?.exits.at(-1) ?? 1;
  return (
    <section class="panel" aria-labelledby={`tenant-${name}`}>
      <h2 id={`tenant-${name}`}>
        {name} {closed_at !== null && <span class="badge">closed {instant(closed_at)}</span>}
      </h2>
      <p>
        {usd(usage.total_cost_usd)} since {usage.from}, {usd(savedUsd(body, usage, deepest))} saved against the deepest
        exit; {whole(running)} running.
      </p>
      {budgets.map((budget) => (
        <div key={budget.name} class="row">
          <div class="grow">
            <BudgetBar budget={budget} />
          </div>
          <LimitForm tenant={name} budget={budget.name} limit={budget.limit_usd} />
        </div>
      ))}
      {usage.data.length > 0 && <StackedBars title="Output tokens by exit" {...dayBars(usage)} />}
      <Keys body={body} />
    </section>
  );
}

function LimitForm({
  tenant,
  budget,
  limit,
}: {
  readonly tenant: string;
  readonly budget: string;
  readonly limit: string;
}) {
  const [text, setText] = useState(String(Number(limit)));
  return (
    <form
      class="inline"
      onSubmit={(event) => {
        event.preventDefault();
        void setLimit(tenant, budget, Number(text));
      }}
    >
      <label>
        <span class="fine">Limit of {budget}, $</span>
        <input
          type="number"
          min="0"
          step="0.000001"
          required
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="quiet">
        Set
      </button>
    </form>
  );
}

function Keys({ body: { name, keys } }: { readonly body: Tenant["body"] }) {
  const [label, setLabel] = useState("");
  const made = newKey.value?.tenant === name ? newKey.value : null;
  return (
    <>
      <table>
        <caption>Keys</caption>
        <thead>
          <tr>
            <th scope="col">label</th>
            <th scope="col">id</th>
            <th scope="col">made</th>
            <th scope="col">valid</th>
            <th scope="col">
              <span class="hidden">Revoke</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.id}>
              <th scope="row">{key.label}</th>
              <td>
                <code>{key.id}</code>
                {key.declared && " in tenants.toml"}
              </td>
              <td>{instant(key.created_at)}</td>
              <td>{validity(key)}</td>
              <td>
                {key.revoked_at === null && (
                  <button type="button" class="quiet" onClick={() => confirmRevoke(name, key)}>
                    Revoke<span class="hidden"> {key.label}</span>
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {made !== null && (
        <p class="note" role="status">
          New key, told once: <code>{made.key}</code>
        </p>
      )}
      <form
        class="inline"
        onSubmit={(event) => {
          event.preventDefault();
          void createKey(name, label).then((done) => done && setLabel(""));
        }}
      >
        <label>
          <span class="fine">Label of a new key for {name}</span>
          <input required maxLength={128} value={label} onInput={(event) => setLabel(event.currentTarget.value)} />
        </label>
        <button type="submit">Create key</button>
      </form>
    </>
  );
}

function validity(key: Tenant["body"]["keys"][number]): string {
  if (key.revoked_at !== null) return `revoked ${instant(key.revoked_at)}`;
  return key.expires_at === null ? "yes" : `until ${instant(key.expires_at)}`;
}

function confirmRevoke(tenant: string, { id, label }: { readonly id: string; readonly label: string }): void {
  if (confirm(`Revoke the key “${label}” of ${tenant}? At once, and for good.`)) void revokeKey(tenant, id);
}
