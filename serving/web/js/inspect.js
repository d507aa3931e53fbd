/** The inspection page: opens the item, shopper or search that the address names after #, and marks it on the map. */

import { ask, Problem, service } from "./api.js";
import { byId, el } from "./dom.js";
import { inspectedItem } from "./inspect_item.js";
import { inspectedShopper } from "./inspect_shopper.js";
import { links, toItem, toShopper } from "./links.js";
import { openMap } from "./map.js";

let opened = 0;
let map = null;
let marked = [];

/** Open what the address names: #/item/ID, #/shopper/ID, #/find/WORDS, or a few words on what may be done. */
async function route({ isMove = false } = {}) {
  const [, kind, ...rest] = location.hash.slice(1).split("/");
  const named = decoded(rest.join("/"));
  const turn = ++opened;
  try {
    const [shown, ids] = await shownFor(kind, named);
    if (turn !== opened) return;
    byId("main").replaceChildren(...shown);
    marked = ids;
    map?.mark(marked);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const title = el("h1", { tabindex: "-1", text: error.status === 404 ? "Not found" : "No response" });
    if (turn === opened) byId("main").replaceChildren(block(title, ...messageOf(error, kind)));
  }
  if (isMove && turn === opened) byId("main").querySelector("h1")?.focus({ preventScroll: BESIDE.matches });
}

/** [elements, ids of items to mark, the first of them the opened one]. */
async function shownFor(kind, named) {
  if (kind === "item") {
    const answer = await ask("GET", `/v1/inspect/items/${encodeURIComponent(named)}`);
    const fused = answer.spaces.find(({ space }) => space === "fused");
    return [inspectedItem(answer), [answer.item_id, ...fused.neighbours.map((entry) => entry.item_id)]];
  }
  if (kind === "shopper") {
    const answer = await ask("GET", `/v1/inspect/shoppers/${encodeURIComponent(named)}`);
    return [inspectedShopper(answer), ["", ...answer.items.map((entry) => entry.item_id)]];
  }
  if (kind === "find") {
    const answer = await ask("GET", `/v1/inspect/find?${new URLSearchParams({ words: named })}`);
    return [results(answer, named), ["", ...answer.items.map((entry) => entry.item_id)]];
  }
  return [await welcome(), []];
}

async function welcome() {
  const { shoppers } = await ask("GET", "/v1/shoppers?count=6");
  return [
    block(el("h1", { tabindex: "-1", text: "Inspect" }), el("p", { class: "note", text: "Search for an item or a shopper above, or click a point of the map." })),
    block(el("h2", { text: "Sample shoppers" }), links(shoppers.map((entry) => [toShopper(entry.user_id), entry.user_id, `${entry.n_items} items`]))),
  ];
}

function results(answer, words) {
  const isNothing = answer.items.length + answer.user_ids.length === 0;
  const items = answer.items.map((entry) => [toItem(entry.item_id), entry.title ?? entry.item_id, entry.item_id]);
  const near = [...answer.nearest_item_ids.map((id) => [toItem(id), id, "item"]), ...answer.nearest_user_ids.map((id) => [toShopper(id), id, "shopper"])];
  return [
    block(el("h1", { tabindex: "-1", text: isNothing ? `No results for “${words}”` : `Results for “${words}”` })),
    ...(isNothing && near.length > 0 ? [block(el("h2", { text: "Similar ids" }), links(near))] : []),
    ...(items.length > 0 ? [block(el("h2", { text: "Items" }), links(items))] : []),
    ...(answer.user_ids.length > 0 ? [block(el("h2", { text: "Shoppers" }), links(answer.user_ids.map((id) => [toShopper(id), id, ""])))] : []),
  ];
}

/** The service's message, and a link for each of the similar ids that it names. */
function messageOf(error, kind) {
  if (error.status !== 404) return [el("p", { text: error.status === 0 ? "The service does not respond." : error.message })];
  const near = (error.message.match(/nearest ids: (.*)$/)?.[1] ?? "").split(", ").filter(Boolean);
  const to = kind === "shopper" ? toShopper : toItem;
  return [el("p", { text: error.message }), links(near.map((id) => [to(id), id, ""]))];
}

const BESIDE = matchMedia("(min-width: 961px)");
const block = (...children) => el("section", { class: "block" }, ...children);

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = byId("words").value.trim();
  if (words !== "") location.hash = `/find/${encodeURIComponent(words)}`;
});
service.addEventListener("down", () => {
  byId("notice").textContent = "The service does not respond.";
  byId("notice").hidden = false;
});
service.addEventListener("back", () => {
  byId("notice").hidden = true;
});

window.addEventListener("hashchange", () => void route({ isMove: true }));
void route();
map = await openMap((itemId) => {
  location.hash = toItem(itemId).slice(1);
});
map?.mark(marked);
