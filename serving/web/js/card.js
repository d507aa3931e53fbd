/** A product on a shelf: its picture, what it costs, what others say, and why it is there. */

import { el, svg } from "./dom.js";
import { place } from "./items.js";
import { inCart, intoCart } from "./shopper.js";
import { tell } from "./events.js";
import { tile } from "./tile.js";
import { priced, titleOf } from "./words.js";

const STAR = "M8 1.2l2.1 4.3 4.7.7-3.4 3.3.8 4.7L8 12l-4.2 2.2.8-4.7L1.2 6.2l4.7-.7z";

/** An <li>. moved: places up since the list before, "new" for what was not in it, else 0. onOpen(item), onCart(item). */
export function card(item, moved, onOpen, onCart) {
  const name = titleOf(item);
  return el(
    "li",
    { class: "card", data: { item: item.itemId } },
    el(
      "button",
      { class: "card-open", type: "button", data: { control: "open" }, on: { click: () => onOpen(item) } },
      el("span", { class: "picture" }, tile(item), badge(moved)),
      el("span", { class: "brand", text: item.brand ?? item.category ?? "" }),
      el("span", { class: "name", text: name, title: name }),
    ),
    el("p", { class: "facts" }, el("span", { class: "price", text: priced(item.price) }), stars(item.rating, item.nReviews)),
    item.reason && el("p", { class: "reason", text: sentence(item.reason.text) }),
    item.quote && quotation(item.quote),
    cartButton(item, name, onCart),
  );
}

/** Stars in words and picture; nothing where nobody has reviewed it. */
export function stars(rating, nReviews) {
  if (rating === null || rating === undefined || nReviews === 0) return null;
  const label = nReviews === undefined ? `${rating} of 5 stars` : `${rating.toFixed(1)} of 5 stars, ${nReviews} reviews`;
  const shown = nReviews === undefined ? String(rating) : `${rating.toFixed(1)} (${nReviews})`;
  const picture = svg("svg", { viewBox: "0 0 16 16", class: "star", "aria-hidden": "true" }, svg("path", { d: STAR }));
  return el("span", { class: "stars" }, picture, el("span", { "aria-hidden": "true", text: shown }), el("span", { class: "unseen", text: label }));
}

export function quotation(quote) {
  return el("blockquote", { class: "quote" }, el("span", { text: `“${quote.text}”` }), " ", stars(quote.stars));
}

/** Puts the product into the cart and tells the service; leads to the cart where it is in there. */
export function cartButton(item, name, onCart) {
  const isIn = inCart(item.itemId);
  const label = !item.available ? "Sold out" : isIn ? "In the cart" : "Add to cart";
  const put = async () => {
    if (isIn) {
      location.hash = "#/cart";
      return;
    }
    const { itemId, title, price, brand, category, attributes } = item;
    intoCart({ itemId, title, price, brand, category, attributes, recommendationId: item.recommendationId, rank: item.rank });
    await tell("cart", place(item));
    onCart(item);
  };
  return el("button", {
    class: "button add", type: "button", text: label, disabled: !item.available,
    "aria-label": `${label}: ${name}`, data: { control: "add" }, on: { click: put },
  });
}

function badge(moved) {
  if (moved === 0) return null;
  const words = moved === "new" ? "new in this list" : `moved up ${moved}`;
  return el("span", { class: "badge" }, el("span", { "aria-hidden": "true", text: moved === "new" ? "New" : `↑ ${moved}` }), el("span", { class: "unseen", text: `, ${words}` }));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
