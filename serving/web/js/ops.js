/** The operations page: reads the metrics every few seconds and plots the recent ones. */

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
const EXCLUDED_ROUTES = new Set(["/metrics", "/readyz", "/healthz", "/v1/release", EXPERIMENTS, "unknown"]);
const QUANTILES = [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]];

/** What two readings say of the moment between them, the oldest first. */
let history = [];
let before = null;
let isPaused = false;

const isCounted = ({ route }) => !EXCLUDED_ROUTES.has(route);

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
    healthy(false, error.status === 0 ? "No response" : "Not ready");
    byId("notice").textContent = error.status === 0 ? "The service does not respond. Showing the last figures." : error.message;
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
  history = history.filter((entry) => entry.at > at - WINDOW_S);
  before = reading;
}

function change(old, now) {
  const passed = now.at - old.at;
  const grown = (matches) => {
    const more = sum(now.samples, "recsys_requests_total", matches) - sum(old.samples, "recsys_requests_total", matches);
    return more < 0 ? null : more / passed;
  };
  const counts = between(buckets(old.samples, SECONDS, isCounted), buckets(now.samples, SECONDS, isCounted));
  const status = (first) => (labels) => isCounted(labels) && labels.status.startsWith(first);
  return { traffic: grown(isCounted), refused: grown(status("4")), failed: grown(status("5")), counts };
}

function drawn({ samples }, release) {
  const to = history.at(-1).at;
  const from = to - Math.max(SHORTEST_S, to - history[0].at);
  const over = (value) => history.map((entry) => [entry.at, value(entry) ?? null]);
  const show = (id, label, unit, series) => {
    const figure = plot({ series, from, to, unit, label });
    const legend = series.length < 2 ? [] : [el("ul", { class: "legend" }, series.map(({ name }, i) => el("li", { class: `line-${i}`, text: name })))];
    byId(id).replaceChildren(figure, ...legend);
  };
  show("traffic", "Traffic", "requests/s", [{ name: "requests", points: over((entry) => entry.traffic) }]);
  const inMs = (share) => (entry) => (entry.counts ? scaled(quantile(share, entry.counts)) : null);
  show("latency", "Latency", "ms", QUANTILES.map(([name, share]) => ({ name, points: over(inMs(share)) })));
  show("errors", "Errors", "responses/s", [
    { name: "4xx", points: over((entry) => entry.refused) },
    { name: "5xx", points: over((entry) => entry.failed) },
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
  const pairs = [
    ["Requests per second", last.traffic === undefined || last.traffic === null ? "–" : last.traffic.toFixed(1)],
    ["p95 now", p95 === null ? "–" : milliseconds(1000 * p95)],
    ["Error rate", notWell === null ? "–" : `${notWell.toFixed(notWell < 10 ? 1 : 0)} %`],
    ["Replicas", replicas > 0 ? String(replicas) : "–"],
    ["Personal lists", lists > 0 ? `${Math.round((100 * personal) / lists)} %` : "–"],
  ];
  byId("figures").replaceChildren(...pairs.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))));
}

function routes(samples) {
  const names = [...new Set(samples.filter((entry) => entry.name === `${SECONDS}_count` && isCounted(entry.labels)).map((entry) => entry.labels.route))];
  const rows = names.map((route) => ({ route, counts: buckets(samples, SECONDS, (labels) => labels.route === route) }));
  rows.sort((a, b) => b.counts.get(Infinity) - a.counts.get(Infinity));
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
  byId("pause").textContent = isPaused ? "Resume" : "Pause";
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  if (!isPaused) void poll();
});
byId("experiments-metric").addEventListener("change", () => void experimentsNow());
service.addEventListener("back", () => {
  before = null;
});
for (const where of document.querySelectorAll(".window")) where.textContent = `${WINDOW_S / 60} minutes`;
void poll();
