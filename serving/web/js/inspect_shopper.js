/** A shopper: their history, and the reasons for their list. */

import { bars } from "./bars.js";
import { el } from "./dom.js";
import { toItem } from "./links.js";
import { SOURCES } from "./words.js";

const N_SHOWN = 20;

/** Elements for an answer of /v1/inspect/shoppers. */
export function inspectedShopper(answer) {
  return [head(answer), list(answer), history(answer)];
}

function head({ user_id: id, n_history: n, is_ranked: isRanked, fallback }) {
  const facts = [
    `${n.toLocaleString()} entries of history`,
    isRanked ? "ranked by the ranker" : "ranked by the weighted sum of the sources",
    fallback ? `not personal: ${fallback.replaceAll("_", " ")}` : null,
  ];
  return el(
    "article",
    { class: "block", "aria-label": "Shopper" },
    el("h1", { tabindex: "-1", text: id }),
    el("p", { class: "facts" }, facts.filter(Boolean).map((text) => el("span", { text }))),
  );
}

function list({ items, ranker }) {
  return el(
    "section",
    { class: "block", "aria-label": "List" },
    el("h2", { text: "The list they would get now" }),
    el("ol", { class: "lines" }, items.map((item, i) => place(item, ranker[i]))),
  );
}

function place(item, features) {
  const scores = Object.entries(item.scores ?? {}).sort((a, b) => b[1] - a[1]);
  const added = bars(scores.map(([name, value]) => ({ name, value, shown: value.toFixed(2) })), "added to the score");
  const shares = bars(
    features.map(({ feature, value, contribution }) => ({ name: `${feature.replaceAll("_", " ")} = ${Number(value.toPrecision(3))}`, value: contribution, shown: contribution.toFixed(2) })),
    "added to the ranker’s score",
  );
  return el(
    "li",
    { class: "place" },
    el("span", { class: "rank", text: item.rank }),
    el(
      "div",
      {},
      el("a", { href: toItem(item.item_id), text: item.title ?? item.item_id }),
      el("p", { class: "note", text: `${item.reason?.text ?? ""} · ${item.source}: ${SOURCES[item.source] ?? item.source}` }),
      el(
        "details",
        {},
        el("summary", { text: "Score details" }),
        el(
          "div",
          { class: "counted" },
          el("div", {}, el("h3", { text: "Contribution of each source" }), added),
          features.length > 0 ? el("div", {}, el("h3", { text: "Contribution of the ranker’s features" }), shares) : null,
        ),
      ),
    ),
  );
}

function history({ history: entries, n_history: n }) {
  return el(
    "section",
    { class: "block", "aria-label": "History" },
    el("h2", { text: "History, newest first" }),
    el("ul", { class: "lines" }, entries.slice(0, N_SHOWN).map(entry)),
    n > N_SHOWN ? el("p", { class: "note", text: `The newest ${Math.min(N_SHOWN, entries.length)} of ${n.toLocaleString()}.` }) : null,
  );
}

function entry({ timestamp, event_type: type, item_id: id, title, text, since_release: isSince }) {
  const what = id === null ? el("span", { text: text ?? "(text not stored)" }) : el("a", { href: toItem(id), text: title ?? id });
  return el(
    "li",
    {},
    el("span", { class: "note when", text: `${timestamp.slice(0, 10)} ${timestamp.slice(11, 16)}` }),
    el("span", { class: "note when", text: isSince ? `${type}, since the release` : type }),
    what,
  );
}
