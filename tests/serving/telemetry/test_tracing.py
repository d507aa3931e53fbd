import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from recsys.errors import ConfigError
from serving.releases.active import ActiveRelease
from serving.telemetry import tracing
from serving.telemetry.tracing import check_tracing, is_enabled, start_tracing, use_tracer, variables
from serving.watch.keys import Keys

Clients = Callable[..., TestClient]
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture
def spans() -> Iterator[Callable[[], dict[str, ReadableSpan]]]:
    """The spans that have ended, by name."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use_tracer(provider.get_tracer("test"))
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}
    use_tracer(None)


def test_a_request_has_its_parts(
    live: ActiveRelease, live_database: LiveDatabase, client_of: Clients, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    with client_of(live, database=live_database) as client:
        client.post("/v1/events", json={"user_id": "ann", "event_type": "view", "item_id": "lamp"})
        client.post("/v1/recommend", json={"user_id": "ann", "text": "shoes", "count": 2})
    by_name = spans()
    whole = by_name["POST /v1/recommend"]
    assert whole.kind is SpanKind.SERVER
    parts = [span for span in by_name.values() if span.parent and span.parent.span_id == whole.context.span_id]
    assert {span.name: dict(span.attributes or {}) for span in parts} == {
        "read live data": {"recsys.recent_events": 1, "recsys.unavailable_items": 0},
        "encode texts": {"recsys.texts": 1},
        "recommend": {
            "recsys.count": 2,
            "recsys.release_id": "r1",
            "recsys.items": 2,
            "recsys.fallback": "none",
        },
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/similar", {"item_id": "rug"}),
        ("POST", "/v1/complements", {"item_ids": ["boot"]}),
        ("POST", "/v1/search", {"text": "shoes"}),
        ("GET", "/v1/popular", None),
    ],
)
def test_every_list_is_a_part_of_its_request(
    client: TestClient, spans: Callable[[], dict[str, ReadableSpan]], method: str, path: str, body: object
) -> None:
    assert client.request(method, path, json=body).status_code == 200
    whole, ranked = spans()[f"{method} {path}"], spans()["recommend"]
    assert ranked.parent is not None and ranked.parent.span_id == whole.context.span_id


def test_the_callers_trace_goes_on(client: TestClient, spans: Callable[[], dict[str, ReadableSpan]]) -> None:
    client.post("/v1/recommend", json={"user_id": "ann"}, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    whole = spans()["POST /v1/recommend"]
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert whole.parent is not None and f"{whole.parent.span_id:016x}" == CALLER


def test_what_the_caller_does_not_record_is_not_recorded(
    client: TestClient, spans: Callable[[], dict[str, ReadableSpan]]
) -> None:
    client.post("/v1/recommend", json={"user_id": "ann"}, headers={"traceparent": f"00-{TRACE}-{CALLER}-00"})
    assert spans() == {}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/nowhere"])
def test_what_operators_and_strangers_ask_is_left_out(
    client: TestClient, spans: Callable[[], dict[str, ReadableSpan]], path: str
) -> None:
    client.get(path)
    assert spans() == {}


def test_a_span_tells_how_the_request_ended(
    live: ActiveRelease,
    client_of: Clients,
    spans: Callable[[], dict[str, ReadableSpan]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = client_of(live)
    client.post("/v1/similar", json={"item_id": "unknown"}, headers={"X-Request-ID": "r-1"})
    monkeypatch.setattr(type(live.release.recommender), "recommend", lambda *_: 1 / 0)
    client.post("/v1/recommend", json={"user_id": "ann"})
    refused, failed = spans()["POST /v1/similar"], spans()["POST /v1/recommend"]
    assert dict(refused.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/similar",
        "http.response.status_code": 404,
        "recsys.request_id": "r-1",
    }
    assert refused.status.status_code is StatusCode.UNSET
    assert failed.attributes is not None and failed.attributes["http.response.status_code"] == 500
    assert failed.status.status_code is StatusCode.ERROR


def test_no_span_identifies_the_shopper(
    live: ActiveRelease,
    live_database: LiveDatabase,
    client_of: Clients,
    keys_of: Callable[..., Keys],
    spans: Callable[[], dict[str, ReadableSpan]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = {"Authorization": "Bearer both", "User-Agent": "agent-7"}
    with client_of(live, database=live_database, keys=keys_of) as client:
        client.post("/v1/events", json={"user_id": "ann", "event_type": "search", "text": "shoes"}, headers=headers)
        client.post("/v1/recommend?who=bob", json={"user_id": "ann", "text": "clothes"}, headers=headers)
        client.put("/v1/items/carol", json={"title": "secret"}, headers=headers)
        client.get("/v1/users/dave", headers=headers)
        monkeypatch.setattr(type(live.release.recommender), "recommend", lambda *_: [][len("ann")])
        client.post("/v1/recommend", json={"user_id": "ann"}, headers=headers)
    written = " ".join(span.to_json() for span in spans().values())
    assert len(spans()) >= 5
    for word in ("ann", "bob", "carol", "dave", "shoes", "clothes", "secret", "both", "agent-7", "testclient"):
        assert word not in written
    assert all(not span.events for span in spans().values())


def printed_by(code: str) -> object:
    """What the code prints in a process of its own, from JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_service_without_traces_loads_none_of_what_makes_and_sends_them() -> None:
    code = (
        "import sys, json; import serving.api; from serving.telemetry.tracing import start_tracing, span, request_span;"
        "start_tracing({}); span('recommend', count=1).__enter__(); request_span('GET', '/', [], '').__enter__();"
        "print(json.dumps([name for name in sys.modules if name.startswith('opentelemetry.')]))"
    )
    loaded = printed_by(code)
    assert isinstance(loaded, list)
    # FastAPI itself needs the interfaces.
    assert not [name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]


def test_fastapis_own_spans_are_not_made() -> None:
    code = (
        "import json; from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider;"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor;"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter;"
        "from starlette.testclient import TestClient; from recsys.config import Settings;"
        "from serving.api import create_app; from serving.state import ServiceState;"
        "exporter = InMemorySpanExporter(); provider = TracerProvider();"
        "provider.add_span_processor(SimpleSpanProcessor(exporter)); trace.set_tracer_provider(provider);"
        "status = TestClient(create_app(Settings(), ServiceState(lambda: None))).get('/healthz?user=ann').status_code;"
        "print(json.dumps([status, len(exporter.get_finished_spans())]))"
    )
    assert printed_by(code) == [200, 0]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_tracing_is_enabled_by_the_environment(environ: dict[str, str], expected: bool) -> None:
    assert is_enabled(environ) is expected


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER=console: only otlp is supported"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: .* port 4318"),
    ],
)
def test_what_cannot_be_sent_is_refused(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_tracing(environ)


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "PACKAGE", "no_such_package.at_all")
    check_tracing({})
    with pytest.raises(ConfigError, match=r"pip install 'recsys\[tracing\]'"):
        check_tracing(ENDPOINT)


def test_replicas_elsewhere_get_the_variables() -> None:
    assert variables({**ENDPOINT, "HOME": "/root"}) == ENDPOINT


def test_the_exporter_is_asked_for_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    start_tracing(ENDPOINT)
    provider = getattr(tracing._tracer, "span_processor", None)
    use_tracer(None)
    assert provider is not None
    provider.shutdown()
