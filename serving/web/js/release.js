/** The active release, and the results of its evaluation. */

import { el } from "./dom.js";

export function releaseFacts(release) {
  const rows = Object.entries(release.rows).map(([name, count]) => [name, count.toLocaleString()]);
  const facts = [["id", release.release_id], ["events up to", moment(release.as_of)], ...rows, ["encoder", release.encoder_id], ...textFacts(release.texts)];
  return facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]);
}

/** How the encoder reads the product texts; nothing where it reads all of them. */
function textFacts(texts) {
  if (!texts || Math.max(texts.unknown, texts.equal) < 0.005) return [];
  const percent = (share) => `${Math.round(100 * share)} %`;
  const worst = texts.scripts.filter(({ unknown }) => unknown >= 0.005).map(({ script, unknown }) => `${script} ${percent(unknown)}`);
  const unknown = percent(texts.unknown) + (worst.length ? ` (${worst.slice(0, 3).join(", ")})` : "");
  const use = texts.left_out ? "left out: set encoder.model to a multilingual encoder" : "used";
  return [["letters unknown to the encoder", unknown], ["texts it cannot tell apart", percent(texts.equal)], ["text vectors", use]];
}

const moment = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;

/** Rows of a table: for each way of ranking the figures over all shoppers; an older release may have another form. */
export function quality(metrics) {
  const known = Object.entries(metrics).flatMap(([name, slices]) => (typeof slices?.all?.ndcg === "number" ? [[name, slices.all]] : []));
  return known.map(([name, all]) =>
    el(
      "tr",
      { class: name === "fused" ? "served" : null },
      el("th", { scope: "row", text: name }),
      ...[all.recall, all.ndcg, all.coverage].map((value) => el("td", { text: typeof value === "number" ? value.toFixed(3) : "–" })),
    ),
  );
}
