/** What runs as an experiment: a table of its arms each, with the lift of each against the first as an interval. */

import { ask, Problem } from "./api.js";
import { byId, el, svg } from "./dom.js";
import { ticksTo } from "./plot.js";

export const PATH = "/v1/experiments";
const POLL_MS = 10_000;
const DONE = { purchase: "bought", cart: "put into the cart", click: "clicked" };
const [WIDTH, HEIGHT, MIDDLE, END] = [240, 34, 11, 10];

let askedAt = -Infinity;

/** Ask anew where the last time is long enough ago. A service that keeps no events, or has no experiments, shows none. */
export async function experiments() {
  if (performance.now() - askedAt < POLL_MS) return;
  askedAt = performance.now();
  const metric = byId("experiments-metric").value;
  try {
    const answer = await ask("GET", `${PATH}?metric=${metric}`);
    byId("experiments").hidden = answer.experiments.length === 0;
    byId("experiments-list").replaceChildren(...answer.experiments.map((one) => experiment(one, metric)));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 404) byId("experiments").hidden = true;
  }
}

/** At once, as another outcome is asked for. */
export function experimentsNow() {
  askedAt = -Infinity;
  return experiments();
}

function experiment(told, metric) {
  const most = widest(told.arms);
  return el(
    "article",
    { class: "experiment", "aria-label": told.name },
    el("h3", { text: told.name }),
    el("p", { class: "note", text: about(told) }),
    el("p", { class: told.sample_ratio.is_trusted ? "note" : "note warn", text: split(told) }),
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...["Arm", "shoppers", "lists", DONE[metric], "lift"].map((text) => el("th", { scope: "col", class: text === "lists" ? "lists" : null, text })))),
      el("tbody", {}, told.arms.map((arm, i) => row(arm, i === 0, most))),
    ),
  );
}

const about = ({ share, since }) =>
  `${percent(share, 0)} of shoppers, ${since === null ? "none of whom has seen a list of it yet" : `since ${since.slice(0, 10)} ${since.slice(11, 16)} UTC`}.`;

/** Whether the lifts may be believed, and whom they leave out. */
function split({ sample_ratio: ratio, n_switched: switched, n_other: other, since }) {
  const said = [];
  if (!ratio.is_trusted) said.push(`The split is not as the weights have it (p = ${ratio.p_value.toExponential(1)}): do not trust these lifts.`);
  else if (since !== null) said.push(`The split is as the weights have it (p = ${ratio.p_value.toPrecision(2)}).`);
  if (switched > 0) said.push(`${switched.toLocaleString()} saw a second arm and count in their first.`);
  if (other > 0) said.push(`${other.toLocaleString()} saw an arm that is no longer in the settings.`);
  return said.join(" ");
}

function row(arm, isControl, most) {
  return el(
    "tr",
    {},
    el("th", { scope: "row", text: arm.arm }),
    el("td", { text: arm.n_users.toLocaleString() }),
    el("td", { class: "lists", text: arm.n_exposures.toLocaleString() }),
    el("td", { text: arm.n_users > 0 ? percent(arm.rate, 2) : "–" }),
    el("td", { class: "lift" }, ...(isControl ? [el("span", { class: "note", text: "compared with" })] : lift(arm.rate_lift, most))),
  );
}

function lift(found, most) {
  if (found === null) return [el("span", { class: "note", text: "too little to tell" })];
  const isClear = found.low > 0 || found.high < 0;
  return [
    el("strong", { text: signed(found.lift) }),
    el("span", { class: "note", text: ` ${signed(found.low)} to ${signed(found.high)}${isClear ? "" : ", may be chance"}` }),
    interval(found, most, isClear),
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
  const ends = arms.flatMap(({ rate_lift: found }) => (found === null ? [] : [Math.abs(found.low), Math.abs(found.high)]));
  return ticksTo(Math.max(0.05, ...ends)).at(-1);
}

const percent = (share, digits) => `${(100 * share).toFixed(digits)} %`;
const signed = (share, digits = 1) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share), digits)}`;
