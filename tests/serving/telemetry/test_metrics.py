import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from serving.ingress.ray_proxy import METRICS_VARIABLE
from serving.telemetry.metrics import BUCKETS_S


def scraped(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return values(response.text)


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(client: TestClient) -> None:
    good = ("recsys_requests_total", frozenset({"route": "/v1/recommend", "method": "POST", "status": "200"}.items()))
    bad = ("recsys_requests_total", frozenset({"route": "/v1/recommend", "method": "POST", "status": "422"}.items()))
    personal = ("recsys_slates_total", frozenset({("fallback", "none")}))
    strange = ("recsys_slates_total", frozenset({("fallback", "unknown_user")}))
    encoded = ("recsys_texts_total", frozenset({("source", "encoder")}))
    cached = ("recsys_texts_total", frozenset({("source", "cache")}))
    before = scraped(client)
    client.post("/v1/recommend", json={"user_id": "ann"})
    client.post("/v1/recommend", json={"user_id": "zoe"})
    client.post("/v1/recommend", json={})
    for count in (1, 2, 3):
        client.post("/v1/recommend", json={"text": "shoes", "count": count})
    after = scraped(client)
    grown = {name: after[name] - before.get(name, 0) for name in (good, bad, personal, strange, encoded, cached)}
    assert grown == {good: 5, bad: 1, personal: 4, strange: 1, encoded: 1, cached: 2}


def test_times_have_buckets_below_ten_milliseconds(client: TestClient) -> None:
    client.get("/healthz")
    bounds = {dict(labels)["le"] for name, labels in scraped(client) if name == "recsys_request_seconds_bucket"}
    assert bounds == {str(float(bound)) for bound in BUCKETS_S} | {"+Inf"}
    assert sum(bound < 0.010 for bound in BUCKETS_S) == 6


def test_the_scrape_itself_is_the_only_request_in_flight(client: TestClient) -> None:
    client.get("/healthz")
    assert scraped(client)["recsys_requests_in_flight", frozenset()] == 1


def test_paths_that_callers_make_up_are_one_label(client: TestClient) -> None:
    for path in ("/a", "/b", "/v1/c"):
        client.get(path)
    routes = {dict(labels).get("route") for _, labels in scraped(client)}
    assert "unknown" in routes
    assert not {"/a", "/b", "/v1/c"} & routes


REPLICA = """
from serving.telemetry.metrics import IN_FLIGHT, REPLICAS, REQUESTS, SECONDS, exposition
REQUESTS.labels("/v1/recommend", "POST", 200).inc({n})
SECONDS.labels("/v1/recommend").observe(0.004)
IN_FLIGHT.inc()
REPLICAS.labels("r1").set(1)
print(exposition().decode())
"""


def replica(folder: Path, n: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a process that counted `n` requests answers to a scrape; the process has ended then."""
    environment = os.environ | {METRICS_VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    code = [sys.executable, "-c", REPLICA.format(n=n)]
    return values(subprocess.run(code, env=environment, capture_output=True, text=True, check=True).stdout)


def test_one_scrape_answers_for_every_replica_and_the_dead_are_not_in_flight(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"  # which the first of them makes
    replica(folder, 2)
    scrape = replica(folder, 3)
    labels = frozenset({"route": "/v1/recommend", "method": "POST", "status": "200"}.items())
    assert scrape["recsys_requests_total", labels] == 5
    assert scrape["recsys_request_seconds_count", frozenset({("route", "/v1/recommend")})] == 2
    assert scrape["recsys_requests_in_flight", frozenset()] == 1
    assert scrape["recsys_release_replicas", frozenset({("release_id", "r1")})] == 1
