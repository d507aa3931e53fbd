"""What the service counts, for Prometheus.

Several replicas answer behind one port and a scrape reaches any of them. So each keeps its values in a file of its own
in the run's folder (prometheus_client's multiprocess mode, which `serving/ingress/ray_proxy.py` switches on), and
whichever is asked adds up all of them. That answers for one machine: where replicas span several, a scrape answers for
the machine of the replica that it reaches.
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
    # prometheus_client reads this as it is imported. It is set in replicas alone: Ray's own processes count with the
    # same library, and would fill the folder with what is none of the service's.
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
REQUESTS: Final = Counter("recsys_requests", "Requests answered.", ("route", "method", "status"), registry=REGISTRY)
SECONDS: Final = Histogram(
    "recsys_request_seconds", "Time to answer, in the replica.", ("route",), buckets=BUCKETS_S, registry=REGISTRY
)
IN_FLIGHT: Final = Gauge(
    "recsys_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum", registry=REGISTRY
)
REPLICAS: Final = Gauge(
    "recsys_release_replicas",
    "Replicas that answer from this release.",
    ("release_id",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
TEXTS: Final = Counter("recsys_texts", "Texts read, from the cache or encoded.", ("source",), registry=REGISTRY)
TEXTS_CACHED: Final = TEXTS.labels("cache")
TEXTS_ENCODED: Final = TEXTS.labels("encoder")
SLATES: Final = Counter(
    "recsys_slates", "Lists answered, by why they were not personal.", ("fallback",), registry=REGISTRY
)
ANSWERS: Final = Counter(
    "recsys_answers",
    "Lists to be kept for replays and experiments, by what became of them.",
    ("outcome",),
    registry=REGISTRY,
)
ANSWERS_RECORDED: Final = ANSWERS.labels("recorded")
ANSWERS_DROPPED: Final = ANSWERS.labels("dropped")

SHED_BY_PROXY: Final = {"route": "at the door", "method": "unknown", "status": str(int(HTTPStatus.TOO_MANY_REQUESTS))}
"""The labels of lists that were refused before a replica read them."""

_SLATES_BY_FALLBACK: Final[dict[str | None, Counter]] = {}


def count_slate(fallback: str | None) -> None:
    """Count a list. fallback: as in `recsys.recommend.Slate`, None for a personal one."""
    counter = _SLATES_BY_FALLBACK.get(fallback)
    if counter is None:
        counter = _SLATES_BY_FALLBACK[fallback] = SLATES.labels(fallback or "none")
    counter.inc()


def exposition() -> bytes:
    """All values in Prometheus' text format; those of every replica of this machine where they share a folder."""
    if FOLDER is None:
        return generate_latest(REGISTRY)
    _forget_dead(FOLDER)
    together = CollectorRegistry()
    together.register(_WithRefusals(MultiProcessCollector(None, str(FOLDER))))  # type: ignore[no-untyped-call]
    return generate_latest(together)


class _WithRefusals(Collector):
    """What replicas counted, and the lists that HAProxy refused before they reached one."""

    def __init__(self, replicas: Collector) -> None:
        self._replicas = replicas

    def collect(self) -> Iterator[Metric]:
        for metric in self._replicas.collect():
            refused = n_refused() if metric.name == REQUESTS._name else None
            if refused is not None:
                metric.add_sample(f"{metric.name}_total", SHED_BY_PROXY, refused)
            yield metric


def _forget_dead(folder: Path) -> None:
    """What a killed replica was doing is no longer being done; what it counted stays counted."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def n_refused() -> float | None:
    """By the HAProxy of this machine, since its configuration changed last, as a restart sets a counter back to 0; None
    where there is no door, or no answer: a scrape must not fail for it."""
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
    told = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(one.value for one in told if one.name == DENIED and one.labels.get("proxy") == FRONTEND)
