/** The inspection page: what is named behind # is opened, found words are searched, and the map shows where it lies. */

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
    const title = el("h1", { tabindex: "-1", text: error.status === 404 ? "Not found" : "No answer" });
    if (turn === opened) byId("main").replaceChildren(block(title, ...saidOf(error, kind)));
  }
  if (isMove && turn === opened) byId("main").querySelector("h1")?.focus({ preventScroll: BESIDE.matches });
}

/** [elements, ids of items to mark, the first of them the opened one]. */
async function shownFor(kind, named) {
  if (kind === "item") {
    const told = await ask("GET", `/v1/inspect/items/${encodeURIComponent(named)}`);
    const fused = told.spaces.find(({ space }) => space === "fused");
    return [inspectedItem(told), [told.item_id, ...fused.neighbours.map((one) => one.item_id)]];
  }
  if (kind === "shopper") {
    const told = await ask("GET", `/v1/inspect/shoppers/${encodeURIComponent(named)}`);
    return [inspectedShopper(told), ["", ...told.items.map((one) => one.item_id)]];
  }
  if (kind === "find") {
    const told = await ask("GET", `/v1/inspect/find?${new URLSearchParams({ words: named })}`);
    return [found(told, named), ["", ...told.items.map((one) => one.item_id)]];
  }
  return [await welcome(), []];
}

async function welcome() {
  const { shoppers } = await ask("GET", "/v1/shoppers?count=6");
  return [
    block(el("h1", { tabindex: "-1", text: "Look inside" }), el("p", { class: "note", text: "Find an item or a shopper above, or click a point of the map." })),
    block(el("h2", { text: "A few shoppers" }), links(shoppers.map((one) => [toShopper(one.user_id), one.user_id, `${one.n_items} items`]))),
  ];
}

function found(told, words) {
  const isNothing = told.items.length + told.user_ids.length === 0;
  const items = told.items.map((one) => [toItem(one.item_id), one.title ?? one.item_id, one.item_id]);
  const near = [...told.nearest_item_ids.map((id) => [toItem(id), id, "item"]), ...told.nearest_user_ids.map((id) => [toShopper(id), id, "shopper"])];
  return [
    block(el("h1", { tabindex: "-1", text: isNothing ? `Nothing is called “${words}”` : `Found for “${words}”` })),
    ...(isNothing && near.length > 0 ? [block(el("h2", { text: "Nearest ids" }), links(near))] : []),
    ...(items.length > 0 ? [block(el("h2", { text: "Items" }), links(items))] : []),
    ...(told.user_ids.length > 0 ? [block(el("h2", { text: "Shoppers" }), links(told.user_ids.map((id) => [toShopper(id), id, ""])))] : []),
  ];
}

/** The service's own sentence, and a link for each of the nearest ids that it names. */
function saidOf(error, kind) {
  if (error.status !== 404) return [el("p", { text: error.status === 0 ? "The service does not answer." : error.message })];
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
service.addEventListener("gone", () => {
  byId("notice").textContent = "The service does not answer.";
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
