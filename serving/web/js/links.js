/** Ways from one item or shopper to another. */

import { el } from "./dom.js";

export const toItem = (id) => `#/item/${encodeURIComponent(id)}`;
export const toShopper = (id) => `#/shopper/${encodeURIComponent(id)}`;

/** A list of [address, words, note beside them]. */
export function links(rows) {
  return el(
    "ul",
    { class: "near" },
    rows.map(([href, text, note]) => el("li", {}, el("a", { href, text }), el("span", { class: "note", text: note }))),
  );
}
