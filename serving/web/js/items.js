/** Lists of the service, and their places as the page holds them. */

import { ask } from "./api.js";

/** {items, fallback, releaseId} of a list that was requested with properties. */
export async function listOf(method, path, body) {
  const slate = await ask(method, path, body);
  return {
    items: slate.items.map((sent) => itemOf(sent, slate.recommendation_id)),
    fallback: slate.fallback,
    releaseId: slate.release_id,
  };
}

/** An item of a list; recommendationId: sent with its clicks and purchases. */
export function itemOf(sent, recommendationId) {
  return {
    ...propertiesOf(sent.item_id, sent.properties),
    recommendationId,
    rank: sent.rank,
    source: sent.source,
    reason: sent.reason ?? null,
    scores: sent.scores ?? null,
    quote: sent.evidence ?? null,
  };
}

export function propertiesOf(itemId, properties) {
  const { title, category, brand, price, available, attributes, rating } = properties;
  return { itemId, title, category, brand, price, available, attributes, rating, nReviews: properties.n_reviews };
}

/** The fields of an event on a place of a list. */
export function place(item) {
  const fields = { item_id: item.itemId };
  if (item.recommendationId) Object.assign(fields, { recommendation_id: item.recommendationId, position: item.rank - 1 });
  return fields;
}
