/** A titled list that can be reloaded: items that stay glide to their new place, and new items are marked. */

import { Problem } from "./api.js";
import { card } from "./card.js";
import { el, isCalm } from "./dom.js";
import { tellSeen } from "./events.js";
import { place } from "./items.js";

const GLIDE = { duration: 420, easing: "cubic-bezier(.2,.7,.2,1)" };
const SKELETONS = 6;

export class Shelf {
  /**
   * spec: id, title() or text, isGrid, isMarked (whether moves are marked), empty (what an empty one says; without it the
   * shelf hides), list(): a promise of what `listOf` gives, or null for "not now". onOpen(item), onCart(item).
   */
  constructor(spec, onOpen, onCart) {
    this.spec = spec;
    this.onOpen = onOpen;
    this.onCart = onCart;
    this.items = null;
    this.nRequests = 0;
    this.heading = el("h2", { id: `${spec.id}-title`, tabindex: "-1" });
    this.note = el("p", { class: "note", hidden: true });
    this.list = el("ul", { class: spec.isGrid ? "cards grid" : "cards rail" });
    this.element = el(
      "section",
      { class: "shelf", id: spec.id, "aria-labelledby": this.heading.id, "aria-busy": "true" },
      el("header", {}, this.heading, this.note),
      this.list,
    );
    this.titled();
    this.list.append(...Array.from({ length: SKELETONS }, () => el("li", { class: "card skeleton", "aria-hidden": "true" })));
    this.observer = new IntersectionObserver((entries) => this.seen(entries), { threshold: 0.5 });
  }

  titled() {
    this.heading.textContent = typeof this.spec.title === "function" ? this.spec.title() : this.spec.title;
  }

  /** Ask and show; what is shown stays where there is no answer. Returns the items, null where nothing has changed. */
  async refresh() {
    const request = ++this.nRequests;
    this.element.setAttribute("aria-busy", "true");
    let slate;
    try {
      slate = await this.spec.list();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (request === this.nRequests) this.failed(error);
      return null;
    }
    if (request !== this.nRequests) return null; // a later request is in progress
    this.element.setAttribute("aria-busy", "false");
    this.show(slate?.items ?? []);
    return this.items;
  }

  failed(problem) {
    this.element.setAttribute("aria-busy", "false");
    if (this.items === null) this.list.replaceChildren();
    this.say(problem.status === 0 ? "The service does not respond. Showing the last list." : problem.message);
  }

  say(words) {
    this.note.textContent = words ?? "";
    this.note.hidden = !words;
  }

  show(items) {
    const before = new Map((this.items ?? []).map((item, rank) => [item.itemId, rank]));
    const isFirst = this.items === null || !this.spec.isMarked;
    const from = positions(this.list);
    const focused = focusIn(this.list);
    this.items = items;
    this.titled();
    this.observer.disconnect();
    this.list.replaceChildren(
      ...items.map((item, rank) => card(item, isFirst ? 0 : movement(before, item, rank), this.onOpen, this.onCart)),
    );
    for (const shown of this.list.children) this.observer.observe(shown);
    if (focused) focusAgain(this.list, focused);
    this.element.hidden = items.length === 0 && !this.spec.empty;
    this.say(items.length === 0 ? this.spec.empty : null);
    glide(this.list, from);
  }

  /** The item is sold out, wherever it stands. */
  soldOut(itemId) {
    const item = this.items?.find((entry) => entry.itemId === itemId);
    if (!item) return;
    item.available = false;
    this.show(this.items);
  }

  seen(entries) {
    for (const entry of entries.filter(({ isIntersecting }) => isIntersecting)) {
      const item = this.items.find(({ itemId }) => itemId === entry.target.dataset.item);
      if (item?.recommendationId) tellSeen(item.recommendationId, item.itemId, place(item).position);
      this.observer.unobserve(entry.target);
    }
  }
}

function movement(before, item, rank) {
  const was = before.get(item.itemId);
  return was === undefined ? "new" : Math.max(0, was - rank);
}

const positions = (list) =>
  new Map([...list.children].filter((entry) => entry.dataset.item).map((entry) => [entry.dataset.item, entry.getBoundingClientRect()]));

function focusIn(list) {
  const focused = document.activeElement;
  return list.contains(focused) && focused.dataset.control
    ? { item: focused.closest(".card").dataset.item, control: focused.dataset.control, at: [...list.children].indexOf(focused.closest(".card")) }
    : null;
}

/** The same control of the same product, or of what has taken its place. */
function focusAgain(list, { item, control, at }) {
  const cards = [...list.children];
  const next = cards.find((entry) => entry.dataset.item === item) ?? cards[Math.min(at, cards.length - 1)];
  next?.querySelector(`[data-control="${control}"]`).focus({ preventScroll: true });
}

/** From where each card was to where it is now. */
function glide(list, from) {
  if (isCalm()) return;
  for (const shown of list.children) {
    const [was, is] = [from.get(shown.dataset.item), shown.getBoundingClientRect()];
    if (was === undefined) {
      if (from.size > 0) shown.animate([{ opacity: 0 }, { opacity: 1 }], GLIDE);
    } else if (was.x !== is.x || was.y !== is.y) {
      shown.animate([{ transform: `translate(${was.x - is.x}px, ${was.y - is.y}px)` }, { transform: "none" }], GLIDE);
    }
  }
}
