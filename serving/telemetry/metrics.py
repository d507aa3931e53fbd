"""The service's metrics for Prometheus.

Several replicas share one port, and a scrape reaches any of them. So each replica writes its values to a file in the
run's folder (prometheus_client's multiprocess mode, which `serving/ingress/ray_proxy.py` switches on), and the replica
that is scraped adds up all files. A scrape covers one machine: where replicas span several, that of the replica which
it reaches; `serving/telemetry/exporter.py` serves each machine's values on a port of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from serving.ingress.haproxy import COUNTS_VARIABLE, FRONTEND, LISTS_VARIABLE
from serving.ingress.ray_proxy import LOOPBACK, METRICS_VARIABLE

FOLDER: Final = Path(os.environ[METRICS_VARIABLE]) if METRICS_VARIABLE in os.environ else None
if FOLDER is not None:
    # prometheus_client reads this when it is imported. It is set in replicas alone: Ray's own processes use the same
    # library, and would write their metrics into the folder too.
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(FOLDER)

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from prometheus_client.registry import Collector  # noqa: E402

TIMEOUT_S: Final = 1.0
DENIED: Final = "haproxy_frontend_requests_denied_total"
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S: Final = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.010),
    *(0.015, 0.025, 0.050, 0.100, 0.250, 1.0),
)

REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "recsys_requests",
    "Requests answered.",
    ("route", "method", "status"),
    registry=REGISTRY,
)
SECONDS: Final = Histogram(
    "recsys_request_seconds",
    "Request latency in seconds, measured in the replica.",
    ("route",),
    buckets=BUCKETS_S,
    registry=REGISTRY,
)
IN_FLIGHT: Final = Gauge(
    "recsys_requests_in_flight", "Requests in progress.", multiprocess_mode="livesum", registry=REGISTRY
)
REPLICAS: Final = Gauge(
    "recsys_release_replicas",
    "Replicas that serve this release.",
    ("release_id",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
TEXTS: Final = Counter(
    "recsys_texts", "Query texts embedded, by source: cache or encoder.", ("source",), registry=REGISTRY
)
TEXTS_CACHED: Final = TEXTS.labels("cache")
TEXTS_ENCODED: Final = TEXTS.labels("encoder")
SLATES: Final = Counter(
    "recsys_slates",
    'Recommendation lists served, by the reason why they are not personal ("none": personal).',
    ("fallback",),
    registry=REGISTRY,
)
ANSWERS: Final = Counter(
    "recsys_answers",
    "Recommendations logged for replay and experiments, by outcome.",
    ("outcome",),
    registry=REGISTRY,
)
ANSWERS_RECORDED: Final = ANSWERS.labels("recorded")
ANSWERS_DROPPED: Final = ANSWERS.labels("dropped")

SHED_BY_PROXY: Final = {"route": "shed_by_proxy", "method": "unknown", "status": str(int(HTTPStatus.TOO_MANY_REQUESTS))}
"""Labels of list requests that HAProxy refused before they reached a replica."""

_SLATES_BY_FALLBACK: Final[dict[str | None, Counter]] = {}


def count_slate(fallback: str | None) -> None:
    """Count a served list. fallback: as in `recsys.recommend.Slate`, None for a personal list."""
    counter = _SLATES_BY_FALLBACK.get(fallback)
    if counter is None:
        counter = _SLATES_BY_FALLBACK[fallback] = SLATES.labels(fallback or "none")
    counter.inc()


def exposition() -> bytes:
    """All values in Prometheus' text format; with a shared folder, those of every replica of this machine."""
    return generate_latest(REGISTRY if FOLDER is None else machine_registry(FOLDER))


def machine_registry(folder: Path) -> CollectorRegistry:
    """The values of every replica that writes to `folder`, read anew for each scrape."""
    registry = CollectorRegistry()
    registry.register(_MachineCollector(folder))
    return registry


class _MachineCollector(Collector):
    """The replicas' values, and the list requests that HAProxy refused before they reached a replica."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._replicas: Collector = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[Metric]:
        _remove_dead(self._folder)
        for metric in self._replicas.collect():
            refused = n_refused() if metric.name == REQUESTS._name else None
            if refused is not None:
                metric.add_sample(f"{metric.name}_total", SHED_BY_PROXY, refused)
            yield metric


def _remove_dead(folder: Path) -> None:
    """Remove the gauges of dead replicas, such as requests in flight; their counters stay."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def n_refused() -> float | None:
    """List requests refused by this machine's HAProxy since its configuration last changed (it restarts its counters at
    0, as any restart does). None without load shedding, or where HAProxy does not answer: a scrape must not fail for
    it."""
    port = os.environ.get(COUNTS_VARIABLE, "")
    if LISTS_VARIABLE not in os.environ or not port.isdecimal():
        return None
    connection = HTTPConnection(LOOPBACK, int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics?scope=frontend")
        text = connection.getresponse().read().decode()
    except (OSError, HTTPException, UnicodeDecodeError):
        return None
    finally:
        connection.close()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == DENIED and sample.labels.get("proxy") == FRONTEND)
