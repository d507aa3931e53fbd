"""Embedding once: what is new, what survives a kill, and the same rows with and without Ray."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import ray
from ray.cluster_utils import Cluster

from features.encoder.encoder import load_encoder
from features.text.cleaning import text_hash
from jobs.embedding.embed import EmbedReport, embed_texts, load_vectors, numbered_texts
from recsys.config import EmbedSettings, EncoderSettings
from recsys.errors import EncoderError, StoreError
from recsys.workspace import Workspace

REPOSITORY = Path(__file__).parents[3]
SHARDS_OF_4 = EmbedSettings(shard_texts=4, inline_texts=1000)


def table(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"text_hash": [text_hash(text) for text in texts], "text": texts})


def sentences(n: int) -> list[str]:
    return [f"w{i % 40} w{i // 40} " + "w7 " * (i % 9) for i in range(n)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "shop")


@pytest.fixture
def tiny(tiny_bert: Path) -> EncoderSettings:
    return EncoderSettings(model=str(tiny_bert), precision="fp32")


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)


def stored(workspace: Workspace) -> list[Path]:
    return sorted(workspace.embeddings.rglob("*.parquet"))


def rows(workspace: Workspace) -> pl.DataFrame:
    return pl.read_parquet(stored(workspace)).sort("text_hash")


def test_vectors_are_those_of_the_encoder_in_the_order_asked(
    workspace: Workspace, tiny: EncoderSettings, no_ray: None
) -> None:
    texts = sentences(10)
    report = embed_texts(workspace, table(texts), tiny, SHARDS_OF_4)
    encoder = load_encoder(tiny)
    assert report == EmbedReport(encoder.id, 16, n_texts=10, n_new=10, seconds=report.seconds)
    assert [pl.read_parquet(shard).height for shard in stored(workspace)].count(4) == 2
    requested = [*reversed(texts), "", texts[3]]
    vectors = load_vectors(workspace, report.encoder_id, table(requested)["text_hash"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[:10], encoder.encode(requested[:10]), atol=1e-6)
    np.testing.assert_array_equal(vectors[10], np.zeros(16))
    np.testing.assert_array_equal(vectors[11], vectors[6])


def test_a_second_run_encodes_nothing_and_a_change_only_itself(
    workspace: Workspace, tiny: EncoderSettings, no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = sentences(10)
    embed_texts(workspace, table(texts), tiny, SHARDS_OF_4)
    changed = [f"changed {text}" if i in (0, 4, 9) else text for i, text in enumerate(texts)]
    assert embed_texts(workspace, table(changed), tiny, SHARDS_OF_4).n_new == 3
    before = {path: path.stat().st_mtime_ns for path in stored(workspace)}
    monkeypatch.setattr("jobs.embedding.embed.load_encoder", None)  # not even loaded when there is nothing to do
    again = embed_texts(workspace, table(changed), tiny, EmbedSettings(shard_texts=4, inline_texts=0))
    assert (again.n_texts, again.n_new) == (10, 0)
    assert {path: path.stat().st_mtime_ns for path in stored(workspace)} == before


def test_repeats_and_the_empty_text_are_not_embedded(workspace: Workspace, tiny: EncoderSettings, no_ray: None) -> None:
    report = embed_texts(workspace, table(["w1", "", "w1", "w2", ""]), tiny, SHARDS_OF_4)
    assert (report.n_texts, report.n_new) == (2, 2)
    assert rows(workspace).height == 2


def test_another_encoder_embeds_anew(workspace: Workspace, tiny: EncoderSettings, no_ray: None) -> None:
    embed_texts(workspace, table(["w1"]), tiny, SHARDS_OF_4)
    shorter = tiny.model_copy(update={"dim": 8})
    report = embed_texts(workspace, table(["w1"]), shorter, SHARDS_OF_4)
    assert (report.dim, report.n_new) == (8, 1)
    assert load_vectors(workspace, report.encoder_id, table(["w1"])["text_hash"]).shape == (1, 8)


def test_equal_texts_have_one_number_whoever_says_them() -> None:
    rows = table(["b", "a", "b", "c"]).with_columns(user_id=pl.Series(["u", "v", "w", "u"]))
    numbered, distinct = numbered_texts(rows)
    assert distinct.to_list() == sorted(text_hash(text) for text in "abc")
    assert distinct.gather(numbered["text_row"].to_list()).to_list() == rows["text_hash"].to_list()
    assert numbered.drop("text_row").equals(rows)
    assert numbered.schema["text_row"] == pl.Int32
    nobody, nothing = numbered_texts(rows.clear())
    assert (len(nobody), len(nothing), nobody.schema["text_row"]) == (0, 0, pl.Int32)


def test_progress_and_log_count_the_texts(
    workspace: Workspace, tiny: EncoderSettings, no_ray: None, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, int]] = []
    with caplog.at_level(logging.INFO, logger="jobs.embedding.embed"):
        embed_texts(workspace, table(sentences(10)), tiny, SHARDS_OF_4, lambda *done: seen.append(done))
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert [message.split(" texts_per_s")[0] for message in caplog.messages[:3]] == [
        f"embed_shard done={done} of=10" for done in (4, 8, 10)
    ]


def test_texts_never_embedded_are_counted_with_an_example(
    workspace: Workspace, tiny: EncoderSettings, no_ray: None
) -> None:
    requested = table(["w1", "w2", "w3", "w3"])["text_hash"]
    identity = embed_texts(workspace, table(["w1"]), tiny, SHARDS_OF_4).encoder_id
    with pytest.raises(StoreError, match=f"2 texts have no vector .*{text_hash('w2')}"):
        load_vectors(workspace, identity, requested)
    with pytest.raises(StoreError, match="3 texts have no vector"):
        load_vectors(Workspace(workspace.root / "elsewhere"), identity, requested)


def test_a_missing_encoder_is_refused_before_anything_is_written(workspace: Workspace, no_ray: None) -> None:
    with pytest.raises(EncoderError, match="no such folder"):
        embed_texts(workspace, table(["w1"]), EncoderSettings(model="./nowhere"), SHARDS_OF_4)
    assert not workspace.root.exists()


def test_a_torn_draft_is_ignored_and_a_damaged_shard_is_named(
    workspace: Workspace, tiny: EncoderSettings, no_ray: None
) -> None:
    identity = embed_texts(workspace, table(["w1"]), tiny, SHARDS_OF_4).encoder_id
    folder = workspace.embeddings / identity
    (folder / ".0123.parquet.77.tmp").write_bytes(b"PAR1 torn")
    assert embed_texts(workspace, table(["w1", "w2"]), tiny, SHARDS_OF_4).n_new == 1
    (folder / "damaged.parquet").write_bytes(b"no parquet")
    with pytest.raises(StoreError, match=r"1 of 3 embedding shards .*damaged\.parquet"):
        embed_texts(workspace, table(["w1", "w3"]), tiny, SHARDS_OF_4)


KILLED_RUN = """
import sys
from pathlib import Path
import jobs.embedding.embed
from recsys.config import EmbedSettings, EncoderSettings
from recsys.workspace import Workspace
sys.path.insert(0, {tests!r})
from test_embed import sentences, table

def wait_to_be_killed(done, total):
    print(done, flush=True)
    sys.stdin.read()

jobs.embedding.embed.embed_texts(
    Workspace(Path({root!r})), table(sentences(20)), EncoderSettings(model={model!r}, precision="fp32"),
    EmbedSettings(shard_texts=4, inline_texts=1000), wait_to_be_killed,
)
"""


def test_a_run_killed_between_shards_is_finished_by_the_next(
    workspace: Workspace, tiny: EncoderSettings, no_ray: None, tmp_path: Path
) -> None:
    script = KILLED_RUN.format(tests=str(Path(__file__).parent), root=str(workspace.root), model=tiny.model)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with run:
        assert run.stdout is not None
        assert run.stdout.readline() == "4\n"
        run.send_signal(signal.SIGKILL)
    first = stored(workspace)
    assert len(first) == 1
    finished_at = first[0].stat().st_mtime_ns

    assert embed_texts(workspace, table(sentences(20)), tiny, SHARDS_OF_4).n_new == 16
    assert first[0].stat().st_mtime_ns == finished_at
    undisturbed = Workspace(tmp_path / "undisturbed")
    embed_texts(undisturbed, table(sentences(20)), tiny, SHARDS_OF_4)
    assert [path.name for path in stored(workspace)] == [path.name for path in stored(undisturbed)]
    assert rows(workspace)["text_hash"].equals(rows(undisturbed)["text_hash"])
    np.testing.assert_allclose(rows(workspace)["vector"].to_numpy(), rows(undisturbed)["vector"].to_numpy(), atol=1e-6)


@pytest.mark.usefixtures("local_ray")
def test_ray_stores_the_same_shards_as_one_process(workspace: Workspace, tiny: EncoderSettings, tmp_path: Path) -> None:
    texts = table(sentences(8))
    report = embed_texts(workspace, texts, tiny, EmbedSettings(shard_texts=4, inline_texts=0))
    assert report.n_new == 8
    here = Workspace(tmp_path / "here")
    embed_texts(here, texts, tiny, SHARDS_OF_4)
    assert [path.name for path in stored(workspace)] == [path.name for path in stored(here)]
    np.testing.assert_allclose(rows(workspace)["vector"].to_numpy(), rows(here)["vector"].to_numpy(), atol=1e-5)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Any]]:
    """A cluster of two machines, as far as Ray can tell, and the second of them, whose death is noticed in seconds."""
    watchful = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "_system_config": watchful})
    second = cluster.add_node(num_cpus=2)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


def nodes_that_encode() -> set[str]:
    """Node ids of the living actors."""
    actors = ray._private.state.actors().values()  # the public API asks Ray's dashboard, which does not run
    encoding = [actor for actor in actors if "MapWorker" in actor["ActorClassName"] and actor["State"] == "ALIVE"]
    return {actor["Address"]["NodeID"] for actor in encoding}


def test_two_machines_encode_and_the_loss_of_one_loses_no_text(
    workspace: Workspace, tiny: EncoderSettings, two_nodes: tuple[Cluster, Any]
) -> None:
    cluster, second = two_nodes
    lost_at: list[int] = []

    def lose_the_second(done: int, total: int) -> None:
        if not lost_at and done < total and len(nodes_that_encode()) == 2:
            lost_at.append(done)
            cluster.remove_node(second, allow_graceful=False)

    texts = table(sentences(800))
    report = embed_texts(workspace, texts, tiny, EmbedSettings(shard_texts=4, inline_texts=0), lose_the_second)
    assert lost_at
    assert report.n_new == len(rows(workspace)) == 800
    assert embed_texts(workspace, texts, tiny, SHARDS_OF_4).n_new == 0
