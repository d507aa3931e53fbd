/** The shelves of each view, and the request behind each of them. */

import { short } from "./dom.js";
import { listOf } from "./items.js";
import { shopper } from "./shopper.js";

const DETAILS = { explain: true, return_properties: true };
const recommended = (body) => listOf("POST", "/v1/recommend", { user_id: shopper().userId, ...DETAILS, ...body });
const viewedTitle = () => short(shopper().viewed?.title ?? "", 56);

const forYou = {
  id: "for-you",
  title: () => (shopper().isInvented && !shopper().viewed ? "Popular to start with" : "For you"),
  isGrid: true,
  isMarked: true,
  empty: "There is nothing more to recommend to this shopper.",
  list: () => recommended({ scenario: "home", count: 12 }),
};
const because = {
  id: "because",
  title: () => `Because you viewed ${viewedTitle()}`,
  list: async () => shopper().viewed && recommended({ scenario: "product", item_ids: [shopper().viewed.itemId], count: 10 }),
};
const similar = {
  id: "similar",
  title: () => `Similar to ${viewedTitle()}`,
  list: async () =>
    shopper().viewed &&
    listOf("POST", "/v1/similar", { item_id: shopper().viewed.itemId, count: 10, return_properties: true }),
};
const complements = {
  id: "complements",
  title: () => (shopper().cart.length > 0 ? "Goes with your cart" : `Goes with ${viewedTitle()}`),
  list: async () => {
    const { cart, viewed } = shopper();
    const item_ids = cart.length > 0 ? cart.map((line) => line.itemId) : viewed ? [viewed.itemId] : [];
    return item_ids.length > 0 && listOf("POST", "/v1/complements", { item_ids, count: 10, return_properties: true });
  },
};
const trending = {
  id: "trending",
  title: "Trending",
  list: () => listOf("GET", "/v1/popular?window=lately&count=10&return_properties=true"),
};
const newItems = {
  id: "new",
  title: "New for you",
  list: async () => {
    const slate = await recommended({ count: 20, new_items: 0.5 });
    return { ...slate, items: slate.items.filter((item) => item.source === "new") };
  },
};

export const home = () => [forYou, because, similar, complements, trending, newItems];

export const category = (path) => [
  {
    id: "picked",
    title: `Picked for you in ${path.split(">").at(-1).trim()}`,
    isGrid: true,
    isMarked: true,
    empty: "You have seen everything in this category.",
    list: () => recommended({ filter: { category: path }, count: 12 }),
  },
  {
    id: "sells",
    title: "Bestsellers in this category",
    isGrid: true,
    empty: "Nothing in this category has been sold yet.",
    list: () => listOf("GET", `/v1/popular?window=ever&count=24&return_properties=true&category=${encodeURIComponent(path)}`),
  },
];

export const search = (text) => [
  {
    id: "results",
    title: `Results for “${text}”`,
    isGrid: true,
    isMarked: true,
    empty: "No results. Try other words.",
    list: () => listOf("POST", "/v1/search", { user_id: shopper().userId, text, scenario: "search", ...DETAILS }),
  },
];

export const cart = () => [complements, { ...forYou, title: "For you" }];
