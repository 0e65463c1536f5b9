/** A bar chart of stacked series, as SVG that a screen reader can read, too. */
import { scaleBand, scaleLinear } from "d3-scale";
import { whole } from "./format.ts";

/** Units of the drawing; the page scales it. */
const WIDTH = 640;
const HEIGHT = 180;
const MARGIN = { left: 48, bottom: 22, top: 8 };
const TICKS = 4;
/** Names below the bars that fit beside one another. */
const MAX_NAMES = 8;

export interface Bar {
  /** Below the bar. */
  readonly name: string;
  /** By series. */
  readonly values: Readonly<Record<string, number>>;
}

interface Props {
  /** What the chart shows, for those who do not see it. */
  readonly title: string;
  /** From below upwards; the index picks the colour. */
  readonly series: readonly string[];
  readonly bars: readonly Bar[];
}

export function StackedBars({ title, series, bars }: Props) {
  const total = ({ values }: Bar): number => series.reduce((sum, name) => sum + (values[name] ?? 0), 0);
  const x = scaleBand(
    bars.map(({ name }) => name),
    [MARGIN.left, WIDTH],
  ).padding(0.2);
  const y = scaleLinear([0, Math.max(1, ...bars.map(total))], [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(TICKS);
  const every = Math.ceil(bars.length / MAX_NAMES);
  const told = bars.map((bar) => `${bar.name}: ${whole(total(bar))}`).join(", ");
  return (
    <figure class="chart">
      <figcaption>
        {title}{" "}
        {series.map((name, index) => (
          <span key={name} class="fine">
            <span class={`swatch fill-${index % 6}`} /> {name}{" "}
          </span>
        ))}
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}. ${told}`}>
        {y.ticks(TICKS).map((tick) => (
          <g key={tick}>
            <line class="grid" x1={MARGIN.left} x2={WIDTH} y1={y(tick)} y2={y(tick)} />
            <text x={MARGIN.left - 6} y={y(tick) + 4} text-anchor="end">
              {whole(tick)}
            </text>
          </g>
        ))}
        {bars.map((bar, place) => {
          let below = 0;
          return (
            <g key={bar.name}>
              {series.map((name, index) => {
                const value = bar.values[name] ?? 0;
                const top = y(below + value);
                const height = y(below) - top;
                below += value;
                return (
                  <rect
                    key={name}
                    class={`fill-${index % 6}`}
                    x={x(bar.name)}
                    width={x.bandwidth()}
                    y={top}
                    height={height}
                  >
                    <title>{`${bar.name}, ${name}: ${whole(value)}`}</title>
                  </rect>
                );
              })}
              {place % every === 0 && (
                <text x={(x(bar.name) ?? 0) + x.bandwidth() / 2} y={HEIGHT - 6} text-anchor="middle">
                  {bar.name}
                </text>
              )}
            </g>
          );
        })}
      </svg>
    </figure>
  );
}
