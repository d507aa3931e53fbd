/** What the service's names are called on the page. */

export const SOURCES = {
  sequence: "what usually comes next",
  linear: "bought by shoppers like you",
  factors: "taste you share with others",
  text: "reads like what you liked",
  browsing: "reads like your searches",
  query_text: "your own words",
  title: "words of the title",
  buy_again: "bought before",
  trending: "sells these days",
  popular: "sells well",
  new: "a place for new items",
  pinned: "our pick",
  similar: "nearest in text and behaviour",
  complements: "bought together",
};

const price = new Intl.NumberFormat(undefined, { style: "decimal", minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** The catalogue says no currency, so none is made up. */
export const priced = (value) => (value === null || value === undefined ? "" : price.format(value));

export const milliseconds = (value) => (value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);

/** A title without the brand that stands above it. */
export function titleOf(item) {
  const title = item.title ?? item.itemId;
  return item.brand && title.startsWith(`${item.brand} `) ? title.slice(item.brand.length + 1) : title;
}
