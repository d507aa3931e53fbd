/** An item: its properties, and its nearest neighbours in each vector space. */

import { el } from "./dom.js";
import { toItem } from "./links.js";
import { priced } from "./words.js";

const SPACES = {
  text: ["By text", "embeddings of descriptions and reviews"],
  cf: ["By behaviour", "collaborative filtering"],
  fused: ["Fused", "both combined, used to find candidates"],
};

/** Elements for an answer of /v1/inspect/items. */
export function inspectedItem(answer) {
  return [card(answer), neighbours(answer)];
}

function card({ item_id: id, properties, quotes, n_shoppers: nShoppers }) {
  const { title, category, brand, price, available, rating, n_reviews: nReviews } = properties;
  const facts = [
    id,
    brand,
    category,
    priced(price),
    rating === null ? null : `${rating.toFixed(1)} stars, ${nReviews.toLocaleString()} reviews`,
    nShoppers === 0 ? "cold: no events before the release" : `${nShoppers.toLocaleString()} shoppers`,
    available ? null : "sold out",
  ];
  return el(
    "article",
    { class: "block", "aria-label": "Item" },
    el("h1", { tabindex: "-1", text: title ?? id }),
    el("p", { class: "facts" }, facts.filter(Boolean).map((text) => el("span", { text }))),
    quotes.slice(0, 2).map(({ text }) => el("blockquote", { text })),
  );
}

function neighbours({ spaces, agreement }) {
  const agree = agreement.map(({ space, other_space: other, share }) => `${SPACES[space][0]} and ${SPACES[other][0].toLowerCase()}: ${Math.round(100 * share)} %`);
  return el(
    "section",
    { class: "block" },
    el("h2", { text: "Nearest items" }),
    agree.length === 0 ? null : el("p", { class: "note", text: `Neighbours in common: ${agree.join("; ")}.` }),
    el("div", { class: "spaces" }, spaces.map(space)),
  );
}

function space({ space: name, has_vector: hasVector, neighbours }) {
  const [title, of] = SPACES[name];
  return el(
    "section",
    { "aria-label": title, data: { space: name } },
    el("h3", { text: title }),
    el("p", { class: "note", text: of }),
    hasVector ? el("ol", { class: "near" }, neighbours.map(row)) : el("p", { class: "warn", text: "This item has no vector in this space." }),
  );
}

function row({ item_id: id, title, similarity, also_in: also }) {
  return el(
    "li",
    {},
    el("a", { href: toItem(id), text: title ?? id }),
    el("span", { class: "note", title: "cosine similarity", text: similarity.toFixed(2) }),
    also.length === 0 ? null : el("span", { class: "also", text: `also ${also.map((other) => SPACES[other][0].toLowerCase()).join(", ")}` }),
  );
}
