/** Choosing the shopper: a sample of the release's shoppers, any id, or a new shopper. */

import { ask, Problem } from "./api.js";
import { byId, el, short } from "./dom.js";
import { become, invent } from "./shopper.js";

const N_SHOPPERS = 8;

let known = null;

export async function pick() {
  const dialog = byId("shopper-dialog");
  dialog.showModal();
  if (known === null) await load();
}

async function load() {
  const note = byId("shopper-note");
  note.textContent = "Loading shoppers…";
  try {
    known = (await ask("GET", `/v1/shoppers?count=${N_SHOPPERS}`)).shoppers;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    note.textContent = error.status === 403 ? "This key cannot list shoppers (needs the scope admin). Enter an id, or choose a new shopper." : error.message;
    return;
  }
  note.textContent = known.length > 0 ? "" : "The release has no shoppers with a history.";
  byId("shopper-list").replaceChildren(...known.map((shopper) => el("li", {}, row(shopper))));
}

function row(shopper) {
  const last = shopper.recent[0];
  const did = last ? `last ${VERBS[last.event_type] ?? "event with"} ${short(last.title ?? last.item_id, 64)}` : "";
  return el(
    "button",
    { type: "button", class: "shopper", on: { click: () => chosen(shopper.user_id, last) } },
    el("span", { class: "shopper-id", text: shopper.user_id }),
    el("span", { class: "shopper-did", text: did }),
    el("span", { class: "shopper-n", text: `${shopper.n_items} items` }),
  );
}

const VERBS = { view: "viewed", click: "clicked", cart: "added to cart:", purchase: "bought", rating: "rated", return: "returned" };

function chosen(userId, last) {
  byId("shopper-dialog").close();
  become(userId, last ? { itemId: last.item_id, title: last.title ?? last.item_id } : null);
}

byId("shopper-new").addEventListener("click", () => {
  byId("shopper-dialog").close();
  invent();
});
byId("shopper-close").addEventListener("click", () => byId("shopper-dialog").close());
byId("shopper-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const userId = byId("shopper-id").value.trim();
  if (userId === "") return;
  byId("shopper-id").value = "";
  chosen(userId, known?.find((entry) => entry.user_id === userId)?.recent[0] ?? null);
});
