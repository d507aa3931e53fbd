/** The operations page: asks every few seconds, keeps what it has seen, draws it. */

import { ask, askText, Problem, service } from "./api.js";
import { byId, el } from "./dom.js";
import { experiments, experimentsNow, PATH as EXPERIMENTS } from "./experiments.js";
import { plot } from "./plot.js";
import { between, buckets, parsed, quantile, sum } from "./prometheus.js";
import { quality, releaseFacts } from "./release.js";
import { milliseconds } from "./words.js";

const POLL_MS = 3000;
const WINDOW_S = 300;
const SHORTEST_S = 60;
const SECONDS = "recsys_request_seconds";
const OWN = new Set(["/metrics", "/readyz", "/healthz", "/v1/release", EXPERIMENTS, "unknown"]);
const QUANTILES = [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]];

/** What two readings say of the moment between them, the oldest first. */
let history = [];
let before = null;
let isPaused = false;

const isAsked = ({ route }) => !OWN.has(route);

async function poll() {
  try {
    const [text, release] = await Promise.all([askText("/metrics"), ask("GET", "/v1/release"), ask("GET", "/readyz")]);
    const reading = { at: performance.now() / 1000, samples: parsed(text) };
    noted(reading);
    drawn(reading, release);
    healthy(true, "Ready");
    void experiments();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    noted(null);
    healthy(false, error.status === 0 ? "No answer" : "Not ready");
    byId("notice").textContent = error.status === 0 ? "The service does not answer; the figures are from before." : error.message;
    byId("notice").hidden = false;
  }
  if (!isPaused) setTimeout(poll, POLL_MS);
}

function healthy(isWell, words) {
  byId("health").dataset.state = isWell ? "well" : "ill";
  byId("health").textContent = words;
  if (isWell) byId("notice").hidden = true;
}

/** Add what happened since the reading before; a gap where there is none to compare with. */
function noted(reading) {
  const at = performance.now() / 1000;
  history.push({ at, ...(reading && before ? change(before, reading) : {}) });
  history = history.filter((one) => one.at > at - WINDOW_S);
  before = reading;
}

function change(old, now) {
  const passed = now.at - old.at;
  const grown = (wanted) => {
    const more = sum(now.samples, "recsys_requests_total", wanted) - sum(old.samples, "recsys_requests_total", wanted);
    return more < 0 ? null : more / passed;
  };
  const counts = between(buckets(old.samples, SECONDS, isAsked), buckets(now.samples, SECONDS, isAsked));
  const status = (first) => (labels) => isAsked(labels) && labels.status.startsWith(first);
  return { traffic: grown(isAsked), refused: grown(status("4")), failed: grown(status("5")), counts };
}

function drawn({ samples }, release) {
  const to = history.at(-1).at;
  const from = to - Math.max(SHORTEST_S, to - history[0].at);
  const over = (value) => history.map((one) => [one.at, value(one) ?? null]);
  const show = (id, label, unit, series) => {
    const figure = plot({ series, from, to, unit, label });
    const legend = series.length < 2 ? [] : [el("ul", { class: "legend" }, series.map(({ name }, i) => el("li", { class: `line-${i}`, text: name })))];
    byId(id).replaceChildren(figure, ...legend);
  };
  show("traffic", "Traffic", "answers/s", [{ name: "answers", points: over((one) => one.traffic) }]);
  const inMs = (share) => (one) => (one.counts ? scaled(quantile(share, one.counts)) : null);
  show("latency", "Time to answer", "ms", QUANTILES.map(([name, share]) => ({ name, points: over(inMs(share)) })));
  show("errors", "Not answered well", "answers/s", [
    { name: "4xx refused", points: over((one) => one.refused) },
    { name: "5xx failed", points: over((one) => one.failed) },
  ]);
  figures(samples, release);
  routes(samples);
  byId("release").replaceChildren(...releaseFacts(release));
  byId("quality").replaceChildren(...quality(release.metrics));
}

const scaled = (seconds) => (seconds === null ? null : 1000 * seconds);

function figures(samples, release) {
  const last = history.at(-1);
  const replicas = sum(samples, "recsys_release_replicas", ({ release_id }) => release_id === release.release_id);
  const lists = sum(samples, "recsys_slates_total");
  const personal = sum(samples, "recsys_slates_total", ({ fallback }) => fallback === "none");
  const p95 = last.counts ? quantile(0.95, last.counts) : null;
  const notWell = last.traffic > 0 ? (100 * (last.refused + last.failed)) / last.traffic : null;
  const told = [
    ["Answers a second", last.traffic === undefined || last.traffic === null ? "–" : last.traffic.toFixed(1)],
    ["p95 now", p95 === null ? "–" : milliseconds(1000 * p95)],
    ["Refused or failed", notWell === null ? "–" : `${notWell.toFixed(notWell < 10 ? 1 : 0)} %`],
    ["Replicas here", replicas > 0 ? String(replicas) : "–"],
    ["Personal lists", lists > 0 ? `${Math.round((100 * personal) / lists)} %` : "–"],
  ];
  byId("figures").replaceChildren(...told.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))));
}

function routes(samples) {
  const names = [...new Set(samples.filter((one) => one.name === `${SECONDS}_count` && isAsked(one.labels)).map((one) => one.labels.route))];
  const rows = names.map((route) => ({ route, counts: buckets(samples, SECONDS, (labels) => labels.route === route) }));
  rows.sort((one, other) => other.counts.get(Infinity) - one.counts.get(Infinity));
  byId("routes").replaceChildren(
    ...rows.map(({ route, counts }) =>
      el(
        "tr",
        {},
        el("th", { scope: "row", text: route }),
        el("td", { text: counts.get(Infinity).toLocaleString() }),
        ...[0.5, 0.99].map((share) => el("td", { text: milliseconds(1000 * (quantile(share, counts) ?? 0)) })),
      ),
    ),
  );
}

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").textContent = isPaused ? "Go on" : "Pause";
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  if (!isPaused) void poll();
});
byId("experiments-metric").addEventListener("change", () => void experimentsNow());
service.addEventListener("back", () => {
  before = null;
});
for (const where of document.querySelectorAll(".window")) where.textContent = `${WINDOW_S / 60} minutes`;
void poll();
