/** The demo shop: views by the address's fragment, shelves that follow what the shopper does. */

import { ask, Problem, service } from "./api.js";
import { cartView } from "./cart.js";
import { byId, el } from "./dom.js";
import { tell, telling } from "./events.js";
import * as lists from "./lists.js";
import * as panel from "./panel.js";
import { pick } from "./picker.js";
import { Shelf } from "./shelf.js";
import { changes, shopper } from "./shopper.js";

const RETRY_MS = 2000;
const MAX_CATEGORIES = 24;

let shelves = [];
let categories = [];

/** {name, value} of the fragment: #/, #/c/PATH, #/s/WORDS, #/cart. */
function route() {
  const [, name = "", ...rest] = location.hash.split("/");
  try {
    return { name, value: decodeURIComponent(rest.join("/")) };
  } catch {
    return { name, value: rest.join("/") }; // typed by hand, with a bare %
  }
}

/** movesFocus: to the view's first heading, for a visitor who has just asked for the view; done: what they did there. */
function render({ movesFocus = false, keepsScroll = false, done = "" } = {}) {
  const { name, value } = route();
  const specs =
    name === "c" ? lists.category(value) : name === "s" ? lists.search(value) : name === "cart" ? lists.cart() : lists.home();
  shelves = specs.map((spec) => new Shelf(spec, (item) => panel.open(item), () => refresh()));
  const parts = shelves.map((shelf) => shelf.element);
  if (name === "cart") parts.unshift(cartView((item) => panel.open(item), () => render({ movesFocus: true }), bought));
  byId("shelves").replaceChildren(...parts);
  byId("search-field").value = name === "s" ? value : "";
  document.title = `${name === "cart" ? "Cart" : value || "Home"} – recsys demo shop`;
  if (!keepsScroll) scrollTo(0, 0);
  navigation();
  if (movesFocus) byId("shelves").querySelector("h2").focus({ preventScroll: true });
  void refresh(done);
}

/** Ask for every shelf again, and say what came of it. */
async function refresh(done = "") {
  const [first] = await Promise.all(shelves.map((shelf) => shelf.refresh()));
  if (!first) return;
  panel.mix(first);
  const led = first[0] ? `, first: ${first[0].title ?? first[0].itemId}` : "";
  byId("announcer").textContent = `${done} ${shelves[0].heading.textContent}: ${first.length} products${led}.`.trim();
}

function bought(n) {
  render({ movesFocus: true, done: `${n} products bought.` });
}

function navigation() {
  const { name, value } = route();
  const path = name === "c" ? value.split(" > ") : [];
  const top = largest(below([]));
  const inside = below(path);
  const next = largest(inside.length > 0 || path.length < 2 ? inside : below(path.slice(0, -1)));
  byId("categories").replaceChildren(link("All", "#/", name === "", null), ...top.map((entry) => linkTo(entry, path[0] === entry.path)));
  byId("subcategories").hidden = path.length === 0 || next.length === 0;
  byId("subcategories").replaceChildren(...(path.length === 0 ? [] : next.map((entry) => linkTo(entry, value === entry.path))));
}

const below = (path) =>
  categories.filter((entry) => entry.depth === path.length + 1 && entry.path.startsWith([...path, ""].join(" > ")));

/** In their order; of many those with the most products. */
function largest(entries) {
  const least = entries.map((entry) => entry.n_items).sort((a, b) => b - a)[MAX_CATEGORIES - 1] ?? 0;
  return entries.filter((entry) => entry.n_items >= least).slice(0, MAX_CATEGORIES);
}

const linkTo = (entry, isOpen) => link(entry.name, `#/c/${encodeURIComponent(entry.path)}`, isOpen, entry.n_items);

function link(text, href, isCurrent, count) {
  const anchor = el("a", { href, text, "aria-current": isCurrent ? "page" : null });
  if (count !== null) anchor.append(" ", el("span", { class: "count", text: count }), el("span", { class: "unseen", text: " products" }));
  return el("li", {}, anchor);
}

async function loadCategories() {
  try {
    categories = (await ask("GET", "/v1/categories")).categories;
    navigation();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

function greet() {
  byId("shopper-name").textContent = shopper().isInvented ? "New shopper" : shopper().userId;
  byId("cart-count").textContent = shopper().cart.length;
}

byId("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("search-field").value.trim();
  if (text === "") return;
  await tell("search", { text });
  const target = `#/s/${encodeURIComponent(text)}`;
  if (location.hash === target) render();
  else location.hash = target;
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment says which view is open
  byId("main").focus();
});
byId("shopper").addEventListener("click", pick);
byId("panel-close").addEventListener("click", panel.close);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) panel.close();
});
addEventListener("hashchange", () => {
  panel.close();
  render({ movesFocus: true });
});
changes.addEventListener("cart", greet);
changes.addEventListener("shopper", () => {
  panel.close();
  greet();
  if (location.hash.length > 2) location.hash = "#/";
  else render();
});
panel.panel.addEventListener("acted", () => {
  if (route().name === "cart") render({ keepsScroll: true });
  else void refresh();
});
panel.panel.addEventListener("sold-out", ({ detail }) => shelves.forEach((shelf) => shelf.soldOut(detail)));
telling.addEventListener("refused", ({ detail }) => notice(`Your actions are not recorded, so the shelves do not adapt: ${detail}`));
service.addEventListener("down", () => {
  notice("The service does not respond. Showing the last results; retrying…");
  const timer = setInterval(async () => {
    const isBack = await ask("GET", "/readyz").then(() => true, () => false);
    if (isBack) clearInterval(timer);
  }, RETRY_MS);
});
service.addEventListener("back", () => {
  notice("");
  if (categories.length === 0) void loadCategories();
  void refresh();
});

function notice(words) {
  byId("notice").textContent = words;
  byId("notice").hidden = words === "";
}

greet();
render();
void loadCategories();
