import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.ingress.ray_proxy import METRICS_VARIABLE
from serving.telemetry import exporter
from serving.telemetry.metrics import MEDIA_TYPE

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment would not reach this machine."""

REPLICA = """
import sys
from serving.telemetry.metrics import IN_FLIGHT, REQUESTS
REQUESTS.labels("/v1/recommend", "POST", 200).inc(3)
IN_FLIGHT.inc()
print(flush=True)
sys.stdin.read()
"""


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {METRICS_VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has counted three requests and is answering one; it lives until its input ends."""
    code = [sys.executable, "-c", REPLICA]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(code, env=environment(tmp_path), text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "\n"
        yield process


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "serving.telemetry.exporter", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        yield "http://" + line.rpartition(" on ")[2].strip()
        process.terminate()


def test_a_scrape_has_the_counts_of_replicas_and_no_requests_in_flight_of_dead_ones(
    replica: subprocess.Popen[str], url: str
) -> None:
    with OPENER.open(url) as response:
        alive = response.read().decode()
        assert response.headers["Content-Type"] == MEDIA_TYPE
    assert 'recsys_requests_total{method="POST",route="/v1/recommend",status="200"} 3.0' in alive
    assert "recsys_requests_in_flight 1.0" in alive
    replica.communicate()
    with OPENER.open(url) as response:
        dead = response.read().decode()
    assert 'recsys_requests_total{method="POST",route="/v1/recommend",status="200"} 3.0' in dead
    assert "recsys_requests_in_flight 1.0" not in dead


def test_only_reading_is_allowed(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="405") as refused:
        OPENER.open(url, data=b"recsys_requests_total 9")
    refused.value.close()


def test_a_scraper_may_ask_for_openmetrics(replica: subprocess.Popen[str], url: str) -> None:
    scrape = urllib.request.Request(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    with OPENER.open(scrape) as response:
        content = response.read().decode()
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert 'recsys_requests_total{method="POST",route="/v1/recommend",status="200"} 3.0' in content
    assert content.endswith("# EOF\n")


def test_without_a_folder_of_metrics_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporter, "FOLDER", None)
    assert exporter.main([]) == exporter.EXIT_REFUSED
    assert capsys.readouterr().err == f"recsys: error: {METRICS_VARIABLE} is not set; set it as for the replicas\n"
