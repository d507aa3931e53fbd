/** Lines over time with axes and units, as an SVG. */

import { svg } from "./dom.js";

const [WIDTH, HEIGHT] = [520, 190];
const MARGIN = { left: 46, right: 12, top: 24, bottom: 26 };
const N_TIMES = 5;
const X_END = WIDTH - MARGIN.right;
const Y_END = HEIGHT - MARGIN.bottom;

/**
 * series: [{name, points: [[seconds, value or null]]}], null is a gap; from, to: ends of the time axis in seconds; unit:
 * of the values. The value axis begins at 0.
 */
export function plot({ series, from, to, unit, label }) {
  const most = Math.max(0, ...series.flatMap(({ points }) => points.map(([, value]) => value ?? 0)));
  const ticks = ticksTo(most);
  const x = (at) => MARGIN.left + ((at - from) / (to - from)) * (X_END - MARGIN.left);
  const y = (value) => Y_END - (value / ticks.at(-1)) * (Y_END - MARGIN.top);
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": spoken(label, series, unit) },
    ticks.map((tick) => svg("line", { x1: MARGIN.left, x2: X_END, y1: y(tick), y2: y(tick), class: tick === 0 ? "axis" : "rule" })),
    ticks.map((tick) => svg("text", { x: MARGIN.left - 6, y: y(tick) + 4, "text-anchor": "end", text: String(tick) })),
    svg("text", { x: MARGIN.left, y: MARGIN.top - 10, class: "unit", text: unit }),
    timeTicks(from, to).map(([at, words]) => svg("text", { x: x(at), y: HEIGHT - 8, "text-anchor": at === to ? "end" : "middle", text: words })),
    series.map(({ points }, i) => line(points, x, y, i)),
  );
}

function line(points, x, y, i) {
  const known = points.filter(([, value]) => value !== null);
  const d = points
    .map(([at, value], k) => (value === null ? "" : `${k > 0 && points[k - 1][1] !== null ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`))
    .join("");
  const last = known.at(-1);
  return svg(
    "g",
    { class: `line line-${i}` },
    svg("path", { d }),
    last && svg("circle", { cx: x(last[0]), cy: y(last[1]), r: 3.2 }),
  );
}

/** 0 and round steps to at least `most`. */
export function ticksTo(most) {
  if (!(most > 0)) return [0, 1];
  const raw = most / 4;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((entry) => entry * unit).find((entry) => entry >= raw);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

function timeTicks(from, to) {
  const step = (to - from) / N_TIMES;
  const words = (seconds) => (seconds === 0 ? "now" : seconds < 60 ? `−${Math.round(seconds)} s` : `−${Math.round(seconds / 60)} min`);
  return Array.from({ length: N_TIMES }, (_, part) => [to - part * step, words(part * step)]);
}

function spoken(label, series, unit) {
  const now = series.map(({ name, points }) => {
    const value = points.at(-1)?.[1];
    return `${name} ${value === null || value === undefined ? "nothing" : `${value.toPrecision(3)} ${unit}`}`;
  });
  return `${label}: ${now.join(", ")}`;
}
