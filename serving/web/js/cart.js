/** The cart: its lines, what they come to, and buying them. */

import { ask, Problem } from "./api.js";
import { el } from "./dom.js";
import { tell } from "./events.js";
import { place } from "./items.js";
import { outOfCart, shopper } from "./shopper.js";
import { tile } from "./tile.js";
import { priced, titleOf } from "./words.js";

/** onChange() when a line goes; onOpen(item) when one is looked at; onBought(n) after buying. */
export function cartView(onOpen, onChange, onBought) {
  const lines = shopper().cart;
  if (lines.length === 0) {
    return el("section", { class: "cart" }, el("h2", { text: "Your cart", tabindex: "-1" }), el("p", { class: "note", text: "Your cart is empty. Add a product from a shelf." }));
  }
  const total = lines.reduce((sum, line) => sum + (line.price ?? 0), 0);
  const view = el(
    "section",
    { class: "cart", "aria-labelledby": "cart-title" },
    el("h2", { id: "cart-title", text: "Your cart", tabindex: "-1" }),
    el("ul", { class: "plain lines" }, lines.map((line) => row(line, onOpen, onChange))),
    el("p", { class: "total" }, el("span", { text: "Total" }), el("span", { class: "price", text: priced(total) })),
    el("button", { class: "button strong", type: "button", text: "Buy all", on: { click: () => buy(onBought) } }),
  );
  for (const line of lines) void checked(line, view);
  return view;
}

/** Says so where a line is sold out by now, or costs something else. */
async function checked(line, view) {
  try {
    const { properties } = await ask("GET", `/v1/items/${encodeURIComponent(line.itemId)}`);
    const rowNote = [...view.querySelectorAll("li")].find((entry) => entry.dataset.item === line.itemId).querySelector(".note");
    line.isSoldOut = !properties.available;
    if (line.isSoldOut) rowNote.textContent = "Now sold out";
    else if (properties.price !== line.price) rowNote.textContent = `Now ${priced(properties.price)}`;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

function row(line, onOpen, onChange) {
  const name = titleOf(line);
  const remove = () => {
    outOfCart(line.itemId);
    onChange();
  };
  return el(
    "li",
    { data: { item: line.itemId } },
    el(
      "button",
      { class: "small", type: "button", on: { click: () => onOpen({ ...line, available: true, recommendationId: null }) } },
      tile(line),
      el("span", { class: "small-name" }, name, " ", el("span", { class: "note warn" })),
      el("span", { class: "price", text: priced(line.price) }),
    ),
    el("button", { class: "button quiet", type: "button", text: "Remove", "aria-label": `Remove: ${name}`, on: { click: remove } }),
  );
}

async function buy(onBought) {
  const lines = shopper().cart.filter((line) => !line.isSoldOut);
  const taken = await Promise.all(
    lines.map((line) => tell("purchase", { ...place(line), ...(line.price === null ? {} : { value: line.price }) })),
  );
  const bought = lines.filter((_, i) => taken[i]);
  for (const line of bought) outOfCart(line.itemId);
  onBought(bought.length);
}
