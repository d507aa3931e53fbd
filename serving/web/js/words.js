/** Display names of the service's candidate sources, and formats of numbers. */

export const SOURCES = {
  sequence: "often next in a session",
  linear: "bought by similar shoppers",
  factors: "shared taste with other shoppers",
  text: "similar text to items you liked",
  browsing: "similar text to your searches",
  query_text: "matches your query",
  title: "query words in the title",
  buy_again: "bought before",
  trending: "trending now",
  popular: "popular",
  new: "place reserved for new items",
  pinned: "our pick",
  similar: "similar text and behaviour",
  complements: "bought together",
};

const price = new Intl.NumberFormat(undefined, { style: "decimal", minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** The catalogue has no currency, so none is shown. */
export const priced = (value) => (value === null || value === undefined ? "" : price.format(value));

export const milliseconds = (value) => (value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);

/** A title without the brand that stands above it. */
export function titleOf(item) {
  const title = item.title ?? item.itemId;
  return item.brand && title.startsWith(`${item.brand} `) ? title.slice(item.brand.length + 1) : title;
}
