/** The panel beside the shelves: the opened product, why it was recommended, and how long the service took. */

import { ask, Problem, service } from "./api.js";
import { cartButton, quotation, stars } from "./card.js";
import { byId, el, short } from "./dom.js";
import { listOf, place, propertiesOf } from "./items.js";
import { bars } from "./bars.js";
import { tile } from "./tile.js";
import { milliseconds, priced, SOURCES, titleOf } from "./words.js";
import { tell } from "./events.js";
import { looked, outOfCart } from "./shopper.js";

const N_CALLS = 6;
const N_BESIDE = 4;
const NARROW = matchMedia("(max-width: 1079px)");

const calls = [];
/** Where the focus goes when the product is closed: {shelf, item}, ids of what it was opened from. */
let returnTo = null;

/** `acted`: the shopper's action has been sent, and lists may change; `sold-out`: detail is the item's id. */
export const panel = new EventTarget();

/** Open a product, from a shelf or from the panel itself. */
export async function open(item) {
  const shelf = document.activeElement?.closest(".shelf");
  if (shelf) returnTo = { shelf: shelf.id, item: item.itemId };
  show(item, []);
  const sent = tell(item.recommendationId ? "click" : "view", place(item));
  looked(item.itemId, item.title ?? item.itemId);
  void sent.then(() => panel.dispatchEvent(new Event("acted")));
  try {
    const detail = await ask("GET", `/v1/items/${encodeURIComponent(item.itemId)}`);
    const known = { ...item, ...propertiesOf(item.itemId, detail.properties) };
    show(known, detail.quotes);
    if (!known.available) panel.dispatchEvent(new CustomEvent("sold-out", { detail: item.itemId }));
    await beside(known);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("product-note").textContent = error.status === 0 ? "The service does not respond. Showing the data of the list." : error.message;
  }
}

export function close() {
  if (byId("product").hidden) return;
  byId("product").hidden = true;
  byId("product-none").hidden = false;
  byId("panel").classList.remove("is-open");
  for (const part of behind()) part.inert = false;
  const shelf = byId(returnTo?.shelf ?? "") ?? document.querySelector("#main section");
  const cards = [...(shelf?.querySelectorAll(".card") ?? [])];
  const card = cards.find((entry) => entry.dataset.item === returnTo?.item) ?? cards[0];
  (card?.querySelector("[data-control]") ?? document.querySelector("#main h2"))?.focus();
  returnTo = null;
}

const behind = () => document.querySelectorAll(".top, .categories, #main");

function show(item, quotes) {
  const name = titleOf(item);
  const isSame = byId("product").dataset.item === item.itemId && !byId("product").hidden;
  byId("product").dataset.item = item.itemId;
  byId("product-picture").replaceChildren(tile(item));
  byId("product-category").textContent = item.category ?? "";
  byId("product-brand").textContent = item.brand ?? "";
  byId("product-title").textContent = name;
  byId("product-facts").replaceChildren(
    ...[el("span", { class: "price", text: priced(item.price) }), stars(item.rating, item.nReviews)].filter(Boolean),
  );
  byId("product-note").textContent = item.available ? "" : "Sold out. It is removed from all lists at once.";
  byId("product-buttons").replaceChildren(...buttons(item, name));
  byId("product-attributes").replaceChildren(...attributesOf(item.attributes));
  const shown = quotes.length > 0 ? quotes : [item.quote].filter(Boolean);
  byId("product-quotes").hidden = shown.length === 0;
  byId("product-quotes-list").replaceChildren(...shown.map((quote) => el("li", {}, quotation(quote))));
  why(item);
  byId("product").hidden = false;
  byId("product-none").hidden = true;
  byId("panel").classList.add("is-open");
  for (const part of behind()) part.inert = NARROW.matches;
  if (!isSame) {
    byId("product-beside").replaceChildren();
    byId("panel").scrollTop = 0;
    byId("product-title").focus({ preventScroll: true });
  }
}

function buttons(item, name) {
  const onCart = () => {
    show(item, []);
    panel.dispatchEvent(new Event("acted"));
  };
  const buy = async () => {
    outOfCart(item.itemId);
    await tell("purchase", { ...place(item), ...(item.price === null ? {} : { value: item.price }) });
    byId("product-note").textContent = "Bought. The service has recorded it.";
    panel.dispatchEvent(new Event("acted"));
  };
  const now = el("button", { class: "button", type: "button", text: "Buy now", disabled: !item.available, on: { click: buy } });
  return [cartButton(item, name, onCart), now];
}

function attributesOf(attributes) {
  const filled = Object.entries(attributes ?? {}).filter(([, value]) => value !== null && value !== "");
  return filled.flatMap(([name, value]) => [
    el("dt", { text: name.replaceAll("_", " ") }),
    el("dd", { text: [value].flat().map((entry) => (typeof entry === "object" ? JSON.stringify(entry) : String(entry))).join(", ") }),
  ]);
}

function why(item) {
  byId("why").hidden = !item.source;
  if (!item.source) return;
  byId("why-words").textContent = item.reason?.text ?? SOURCES[item.source] ?? item.source;
  byId("why-source").textContent = `Position ${item.rank}, main source “${item.source}”: ${SOURCES[item.source] ?? item.source}.`;
  const scores = Object.entries(item.scores ?? {}).sort((a, b) => b[1] - a[1]);
  byId("why-scores").replaceChildren(...bars(scores.map(([name, value]) => ({ name, value, shown: value.toFixed(2) })), "added to the score"));
}

/** Lists of the page of a product, small. */
async function beside(item) {
  const options = { count: N_BESIDE, return_properties: true };
  const [alike, bought] = await Promise.all([
    listOf("POST", "/v1/similar", { item_id: item.itemId, ...options }),
    listOf("POST", "/v1/complements", { item_ids: [item.itemId], ...options }),
  ]);
  if (byId("product").dataset.item !== item.itemId) return;
  byId("product-beside").replaceChildren(...small("Similar", alike.items), ...small("Often bought together", bought.items));
}

function small(title, items) {
  if (items.length === 0) return [];
  const rows = items.map((item) =>
    el(
      "li",
      {},
      el(
        "button",
        { class: "small", type: "button", on: { click: () => open(item) } },
        tile(item),
        el("span", { class: "small-name", text: short(titleOf(item), 60) }),
        el("span", { class: "price", text: priced(item.price) }),
      ),
    ),
  );
  return [el("h3", { text: title }), el("ul", { class: "plain" }, rows)];
}

/** The main sources of a list, shown while no product is open. */
export function mix(items) {
  const counts = new Map();
  for (const { source } of items) counts.set(source, (counts.get(source) ?? 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1]);
  byId("mix").replaceChildren(
    ...bars(most.map(([name, value]) => ({ name: SOURCES[name] ?? name, value, shown: String(value) })), "places"),
  );
}

service.addEventListener("call", ({ detail }) => {
  if (!detail.path.startsWith("/v1/")) return;
  calls.unshift(detail);
  calls.length = Math.min(calls.length, N_CALLS);
  byId("calls").replaceChildren(
    ...calls.map((call) =>
      el(
        "tr",
        {},
        el("th", { scope: "row", text: `${call.method} ${call.path.split("?")[0].replace("/v1/", "")}`, title: call.path }),
        el("td", { text: call.tookMs === undefined ? "–" : milliseconds(call.tookMs) }),
        el("td", { text: milliseconds(call.roundTripMs) }),
      ),
    ),
  );
});
