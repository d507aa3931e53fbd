/** What runs as an experiment, where this service has a route that tells; without one the page says nothing. */

import { ask, Problem } from "./api.js";
import { byId, el } from "./dom.js";

const PATH = "/v1/experiments";

let isKnown = null;

export async function experiments() {
  try {
    isKnown ??= PATH in (await ask("GET", "/openapi.json")).paths;
    if (!isKnown) return;
    const answer = await ask("GET", PATH);
    const found = answer.experiments ?? [];
    byId("experiments").hidden = found.length === 0;
    byId("experiments-list").replaceChildren(...found.map((one) => facts(one)));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("experiments").hidden = true;
  }
}

/** Its plain fields, as they are named: this page does not judge an experiment. */
function facts(experiment) {
  const plain = Object.entries(experiment).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  return el("dl", { class: "pairs" }, plain.flatMap(([name, value]) => [el("dt", { text: name.replaceAll("_", " ") }), el("dd", { text: String(value) })]));
}
