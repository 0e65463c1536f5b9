/** What the gates chose, beside what the calibration expects of prompts like those it was made from. */
import type { DriftBody } from "../client/wire.ts";
import { percent, whole } from "../parts/format.ts";
import { drift } from "./state.ts";

/** Standard errors beyond which it is hardly chance. */
const FAR = 3;

export function Calibration() {
  const seen = drift.value ?? [];
  if (seen.length === 0) return null;
  return (
    <>
      <h3>Against the calibration</h3>
      <div class="columns">
        {seen.map(({ range, quality, answers, gates, exits }) => (
          <table key={`${range} ${quality}`}>
            <caption>
              Exits {range}, target {percent(quality)}: {whole(answers)} answers
            </caption>
            <thead>
              <tr>
                <th scope="col">which</th>
                <th scope="col">share</th>
                <th scope="col">calibrated</th>
                <th scope="col">
                  <abbr title="in standard errors">off by</abbr>
                </th>
              </tr>
            </thead>
            <tbody>
              <Rows what="gate" shares={gates} />
              <Rows what="exit" shares={exits} />
            </tbody>
          </table>
        ))}
      </div>
    </>
  );
}

function Rows({ what, shares }: { readonly what: string; readonly shares: DriftBody["data"][number]["gates"] }) {
  return shares.map(({ name, observed, expected, deviation }) => (
    <tr key={name}>
      <th scope="row">
        {what} {name}
      </th>
      <td>{percent(observed)}</td>
      <td>{percent(expected)}</td>
      <td>{Math.abs(deviation) > FAR ? <strong>{deviation.toFixed(1)}</strong> : deviation.toFixed(1)}</td>
    </tr>
  ));
}
