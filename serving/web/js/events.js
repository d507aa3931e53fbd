/** Sends the shopper's actions to the service as events; later lists take them into account. */

import { ask, Problem } from "./api.js";
import { randomId } from "./dom.js";
import { shopper } from "./shopper.js";

const PATH = "/v1/events";
const IMPRESSIONS_AFTER_MS = 800;

/** `refused` where the service does not accept events: detail is the reason. */
export const telling = new EventTarget();

let areRefused = false;
const seen = new Set();
let waiting = [];

/** Send an event. Resolves when the service has stored it: true where it was accepted. */
export async function tell(eventType, fields) {
  return sent([{ ...ids(), event_type: eventType, ...fields }]);
}

/** Send an impression of each item that came into view, once, in small batches. position: from 0. */
export function tellSeen(recommendationId, itemId, position) {
  const place = `${recommendationId} ${itemId}`;
  if (seen.has(place)) return;
  seen.add(place);
  const event = { ...ids(), event_type: "impression", item_id: itemId };
  waiting.push({ ...event, recommendation_id: recommendationId, position });
  if (waiting.length === 1) setTimeout(tellWaiting, IMPRESSIONS_AFTER_MS);
}

function tellWaiting() {
  const events = waiting;
  waiting = [];
  void sent(events);
}

const ids = () => ({ event_id: `demo-${randomId()}${randomId()}`, user_id: shopper().userId, session_id: shopper().visit });

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
