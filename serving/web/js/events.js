/** What the shopper does, told to the service as a storefront tells it; lists asked for afterwards know of it. */

import { ask, Problem } from "./api.js";
import { randomId } from "./dom.js";
import { shopper } from "./shopper.js";

const PATH = "/v1/events";
const IMPRESSIONS_AFTER_MS = 800;

/** `refused` where events are not taken: detail is why. */
export const telling = new EventTarget();

let areRefused = false;
const seen = new Set();
let waiting = [];

/** One event, on the service's disk when this resolves; true where it was taken. */
export async function tell(eventType, fields) {
  return sent([{ ...own(), event_type: eventType, ...fields }]);
}

/** Each place of a list that came into view, once, a few at a time. position: from 0. */
export function tellSeen(recommendationId, itemId, position) {
  const place = `${recommendationId} ${itemId}`;
  if (seen.has(place)) return;
  seen.add(place);
  const event = { ...own(), event_type: "impression", item_id: itemId };
  waiting.push({ ...event, recommendation_id: recommendationId, position });
  if (waiting.length === 1) setTimeout(tellWaiting, IMPRESSIONS_AFTER_MS);
}

function tellWaiting() {
  const events = waiting;
  waiting = [];
  void sent(events);
}

const own = () => ({ event_id: `demo-${randomId()}${randomId()}`, user_id: shopper().userId, session_id: shopper().visit });

async function sent(events) {
  if (areRefused) return false;
  try {
    await ask("POST", PATH, { events });
    return true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if ([403, 404, 405].includes(error.status)) {
      areRefused = true;
      telling.dispatchEvent(new CustomEvent("refused", { detail: error.message }));
    }
    return false;
  }
}
