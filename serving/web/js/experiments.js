/** The experiments: a table of arms for each, with the lift over the first arm as an interval. */

import { ask, Problem } from "./api.js";
import { byId, el, svg } from "./dom.js";
import { ticksTo } from "./plot.js";

export const PATH = "/v1/experiments";
const POLL_MS = 10_000;
const DONE = { purchase: "bought", cart: "added to cart", click: "clicked" };
const [WIDTH, HEIGHT, MIDDLE, END] = [240, 34, 11, 10];

let askedAt = -Infinity;

/** Reload the results, unless that was done a moment ago. A service without events or experiments shows none. */
export async function experiments() {
  if (performance.now() - askedAt < POLL_MS) return;
  askedAt = performance.now();
  const metric = byId("experiments-metric").value;
  try {
    const answer = await ask("GET", `${PATH}?metric=${metric}`);
    byId("experiments").hidden = answer.experiments.length === 0;
    byId("experiments-list").replaceChildren(...answer.experiments.map((entry) => experiment(entry, metric)));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 404) byId("experiments").hidden = true;
  }
}

/** Reload the results at once, for another outcome. */
export function experimentsNow() {
  askedAt = -Infinity;
  return experiments();
}

function experiment(result, metric) {
  const most = widest(result.arms);
  return el(
    "article",
    { class: "experiment", "aria-label": result.name },
    el("h3", { text: result.name }),
    el("p", { class: "note", text: about(result) }),
    el("p", { class: result.sample_ratio.is_trusted ? "note" : "note warn", text: split(result) }),
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...["Arm", "shoppers", "lists", DONE[metric], "lift"].map((text) => el("th", { scope: "col", class: text === "lists" ? "lists" : null, text })))),
      el("tbody", {}, result.arms.map((arm, i) => row(arm, i === 0, most))),
    ),
  );
}

const about = ({ share, since }) =>
  `${percent(share, 0)} of shoppers, ${since === null ? "no list shown yet" : `since ${since.slice(0, 10)} ${since.slice(11, 16)} UTC`}.`;

/** Whether the lifts can be trusted, and which shoppers they leave out. */
function split({ sample_ratio: ratio, n_switched: switched, n_other: other, since }) {
  const sentences = [];
  if (!ratio.is_trusted) sentences.push(`Sample ratio mismatch (p = ${ratio.p_value.toExponential(1)}): do not trust these lifts.`);
  else if (since !== null) sentences.push(`No sample ratio mismatch (p = ${ratio.p_value.toPrecision(2)}).`);
  if (switched > 0) sentences.push(`${switched.toLocaleString()} shoppers saw a second arm; they count in their first.`);
  if (other > 0) sentences.push(`${other.toLocaleString()} shoppers saw an arm that is no longer in the settings.`);
  return sentences.join(" ");
}

function row(arm, isControl, most) {
  return el(
    "tr",
    {},
    el("th", { scope: "row", text: arm.arm }),
    el("td", { text: arm.n_users.toLocaleString() }),
    el("td", { class: "lists", text: arm.n_exposures.toLocaleString() }),
    el("td", { text: arm.n_users > 0 ? percent(arm.rate, 2) : "–" }),
    el("td", { class: "lift" }, ...(isControl ? [el("span", { class: "note", text: "control" })] : lift(arm.rate_lift, most))),
  );
}

function lift(estimate, most) {
  if (estimate === null) return [el("span", { class: "note", text: "not enough data" })];
  const isClear = estimate.low > 0 || estimate.high < 0;
  return [
    el("strong", { text: signed(estimate.lift) }),
    el("span", { class: "note", text: ` ${signed(estimate.low)} to ${signed(estimate.high)}${isClear ? "" : ", not significant"}` }),
    interval(estimate, most, isClear),
  ];
}

/** The interval on an axis with 0 in its middle; it ends at `most`, and what lies beyond is cut there. */
export function interval({ lift: middle, low, high }, most, isClear) {
  const x = (value) => WIDTH / 2 + (Math.max(-most, Math.min(most, value)) / most) * (WIDTH / 2 - END);
  const tick = (value, anchor) => svg("text", { x: x(value), y: HEIGHT - 2, "text-anchor": anchor, text: signed(value, 0) });
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: isClear ? "interval clear" : "interval", "aria-hidden": "true" },
    svg("line", { x1: x(-most), x2: x(most), y1: MIDDLE, y2: MIDDLE, class: "rule" }),
    svg("line", { x1: x(0), x2: x(0), y1: 1, y2: 2 * MIDDLE, class: "axis" }),
    svg("line", { x1: x(low), x2: x(high), y1: MIDDLE, y2: MIDDLE, class: "interval-range" }),
    svg("circle", { cx: x(middle), cy: MIDDLE, r: 4 }),
    tick(-most, "start"),
    svg("text", { x: x(0), y: HEIGHT - 2, "text-anchor": "middle", text: "0" }),
    tick(most, "end"),
  );
}

/** A round number that no end of an interval passes. */
export function widest(arms) {
  const ends = arms.flatMap(({ rate_lift: estimate }) => (estimate === null ? [] : [Math.abs(estimate.low), Math.abs(estimate.high)]));
  return ticksTo(Math.max(0.05, ...ends)).at(-1);
}

const percent = (share, digits) => `${(100 * share).toFixed(digits)} %`;
const signed = (share, digits = 1) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share), digits)}`;
