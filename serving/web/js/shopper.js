/** Who is shopping in this tab: a shopper of the release, or an invented one; their last look and their cart. */

import { randomId } from "./dom.js";

const STORED = "recsys.shopper";

/** `shopper` when another one shops, `cart` when the cart has changed. */
export const changes = new EventTarget();

let now = restored() ?? invented();

function restored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function invented() {
  return { userId: `guest-${randomId().slice(0, 6)}`, isInvented: true, visit: randomId(), viewed: null, cart: [] };
}

function keep(what) {
  sessionStorage.setItem(STORED, JSON.stringify(now));
  changes.dispatchEvent(new Event(what));
}

export const shopper = () => now;

/** Somebody the service has never seen. */
export function invent() {
  now = invented();
  keep("shopper");
}

/** A shopper with a history; viewed: {itemId, title} of what they last dealt with, or null. */
export function become(userId, viewed) {
  now = { userId, isInvented: false, visit: randomId(), viewed, cart: [] };
  keep("shopper");
}

export function looked(itemId, title) {
  now.viewed = { itemId, title };
  keep("viewed");
}

export const inCart = (itemId) => now.cart.some((line) => line.itemId === itemId);

/** line: itemId, title, price, brand, category, colour */
export function intoCart(line) {
  if (inCart(line.itemId)) return;
  now.cart.push(line);
  keep("cart");
}

export function outOfCart(itemId) {
  now.cart = now.cart.filter((line) => line.itemId !== itemId);
  keep("cart");
}
