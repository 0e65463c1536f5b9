/** Line plots as SVG, without a library. Pure. */

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  /** Marks instead of a line. */
  readonly dots?: boolean;
  readonly dashed?: boolean;
}

export interface Axes {
  readonly title: string;
  readonly x: { readonly label: string; readonly from: number; readonly to: number };
  readonly y: { readonly label: string; readonly from: number; readonly to: number };
}

const WIDTH = 720;
const HEIGHT = 440;
const MARGIN = { left: 64, right: 190, top: 40, bottom: 52 } as const;
const TICKS = 5;
/** Okabe and Ito's colours, told apart by nearly everybody. */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

export function plot(axes: Axes, series: readonly Series[]): string {
  const inner = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const x = (value: number): number => MARGIN.left + ((value - axes.x.from) / (axes.x.to - axes.x.from)) * inner.width;
  const y = (value: number): number =>
    HEIGHT - MARGIN.bottom - ((value - axes.y.from) / (axes.y.to - axes.y.from)) * inner.height;
  const ticks = ({ from, to }: { from: number; to: number }): number[] =>
    Array.from({ length: TICKS + 1 }, (_, at) => from + (at / TICKS) * (to - from));
  const n = (value: number): string => value.toFixed(1);
  const grid = [
    ...ticks(axes.x).map((tick) => text(x(tick), HEIGHT - MARGIN.bottom + 18, tick.toFixed(2), "middle")),
    ...ticks(axes.y).map(
      (tick) =>
        `<path d="M${MARGIN.left} ${n(y(tick))}H${WIDTH - MARGIN.right}" stroke="#ddd"/>` +
        text(MARGIN.left - 8, y(tick) + 4, tick.toFixed(2), "end"),
    ),
  ];
  const drawn = series.map(({ points, dots, dashed }, at) => {
    const colour = COLOURS[at % COLOURS.length] ?? "#000";
    if (dots === true)
      return points.map((p) => `<circle cx="${n(x(p.x))}" cy="${n(y(p.y))}" r="4" fill="${colour}"/>`).join("");
    const path = points.map((p, i) => `${i === 0 ? "M" : "L"}${n(x(p.x))} ${n(y(p.y))}`).join("");
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"${dashed === true ? ' stroke-dasharray="6 4"' : ""}/>`;
  });
  const legend = series.map(({ name }, at) => {
    const top = MARGIN.top + 8 + at * 20;
    const left = WIDTH - MARGIN.right + 14;
    return `<rect x="${left}" y="${top - 4}" width="14" height="4" fill="${COLOURS[at % COLOURS.length]}"/>${text(left + 20, top + 3, name, "start")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(MARGIN.left, 22, axes.title, "start"),
    ...grid,
    `<path d="M${MARGIN.left} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}H${WIDTH - MARGIN.right}" fill="none" stroke="#444"/>`,
    ...drawn,
    ...legend,
    text(MARGIN.left + inner.width / 2, HEIGHT - 12, axes.x.label, "middle"),
    `<g transform="rotate(-90 16 ${HEIGHT / 2})">${text(16, HEIGHT / 2, axes.y.label, "middle")}</g>`,
    "</svg>",
    "",
  ].join("\n");
}

function text(x: number, y: number, words: string, anchor: "start" | "middle" | "end"): string {
  const safe = words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${safe}</text>`;
}
