/** Named amounts as horizontal bars from a common zero. */

import { el, svg } from "./dom.js";

const WIDTH = 100;

/** Rows {name, value, shown}; unit: what the amounts are, for those who hear them. */
export function bars(rows, unit) {
  const [low, high] = [Math.min(0, ...rows.map((row) => row.value)), Math.max(0, ...rows.map((row) => row.value))];
  const scale = WIDTH / (high - low || 1);
  return rows.map(({ name, value, shown }) => {
    const [left, right] = [Math.min(0, value), Math.max(0, value)].map((end) => (end - low) * scale);
    return el(
      "div",
      { class: "bar" },
      el("span", { class: "bar-name", text: name }),
      el("span", { class: "bar-value", text: shown }),
      el("span", { class: "unseen", text: ` ${unit}` }),
      svg(
        "svg",
        { viewBox: `0 0 ${WIDTH} 6`, preserveAspectRatio: "none", "aria-hidden": "true", class: value < 0 ? "bar-line less" : "bar-line" },
        svg("rect", { width: WIDTH, height: 6, rx: 1, class: "bar-ground" }),
        svg("rect", { x: left, width: Math.max(right - left, 0.8), height: 6, rx: 1, class: "bar-amount" }),
      ),
    );
  });
}
