"""The benchmark of quality: its report, its seeds and its command."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_inputs import FIVE_USERS, bench_data, favourites
from pydantic import TypeAdapter
from rich.console import Console

from jobs.__main__ import main
from jobs.bench.data import BenchData
from jobs.bench.measured_process import MeasuredAnswers, ModelRun
from jobs.bench.models import MODELS
from jobs.bench.quality import (
    DETERMINISTIC,
    OF_A_SAMPLE,
    Measured,
    Report,
    Results,
    bench_quality,
    pooled,
    print_report,
)
from recsys.errors import DataError
from recsys.split import Protocol

KEYS = {"model", "slice", "recall@10", "ndcg@10", "recall@5", "ndcg@5", "ci95", "fit_s", "peak_mb"}


def measured(model: str, ndcg: list[float]) -> Measured:
    figures = {name: np.array(ndcg) for name in ("recall@10", "ndcg@10", "recall@5", "ndcg@5")}
    lists = {"mrr": 0.1, "coverage": 0.5, "novelty": 9.0, "diversity": 0.7, "gini": 0.9}
    return Measured(model, figures, lists, 1.0, 300.0, {"regularization": 100.0, "decay": 0.8, "mix": 0.05})


def as_json(report: Report) -> dict[str, Any]:
    """As `--json` has it."""
    content: dict[str, Any] = TypeAdapter(Results).dump_python(report.results(), mode="json", by_alias=True)
    return content


def test_the_report_has_a_row_for_each_model_and_slice_and_fits_in_100_columns() -> None:
    slices = {"all": np.array([True] * 3), "target_0": np.array([False, True, True])}
    models = tuple(measured(name, [0.2, 0.4, 0.9]) for name in MODELS)
    report = Report("temporal", 40, False, 0, slices, models)
    rows = as_json(report)["rows"]
    assert [(row["model"], row["slice"]) for row in rows[:3]] == [
        ("popularity", "all"),
        ("popularity", "target_0"),
        ("implicit ALS", "all"),
    ]
    assert all(row.keys() == KEYS for row in rows)
    assert (rows[0]["ndcg@10"], rows[1]["ndcg@10"]) == (0.5, 0.65)
    assert rows[1]["ci95"] == [0.4, 0.9]
    output = io.StringIO()
    console = Console(file=output, width=300)
    print_report(report, console)
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    for name in (*MODELS, "0.5000", "0.6500", "target_0"):
        assert any(name in line for line in lines), name


def test_the_shoppers_of_several_shops_are_pooled_by_slice() -> None:
    first = Report("temporal", 40, False, 0, {"all": np.array([True] * 2)}, (measured("fused", [0.2, 0.4]),))
    slices = {"all": np.array([True]), "target_0": np.array([True])}
    second = Report("temporal", 40, False, 0, slices, (replace(measured("fused", [0.9]), fit_s=3.0, peak_mb=200.0),))
    both = pooled([first, second])
    rows = {row["slice"]: row for row in as_json(both)["rows"]}
    assert as_json(both)["n_users"] == 3
    assert (rows["all"]["ndcg@10"], rows["target_0"]["ndcg@10"]) == (0.5, 0.9)
    assert (rows["all"]["fit_s"], rows["all"]["peak_mb"]) == (2.0, 300.0)


def test_several_storefronts_are_measured_as_one(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "recsys.toml").write_text(f'[encoder]\nmodel = "{tiny_bert}"\n')
    size = ["--products", "30", "--shoppers", "40", "--days", "10", "--models", "popularity"]
    counts = []
    for shops in (["--storefronts", "1"], ["--storefronts", "2"]):
        out = tmp_path / "out.json"
        assert (
            main(["bench", "sample", "--json", str(out), "--config", str(tmp_path / "recsys.toml"), *size, *shops]) == 0
        )
        counts.append(json.loads(out.read_text())["n_users"])
    assert counts[1] > counts[0] > 0


def test_more_seeds_are_averaged_and_a_deterministic_model_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(folder: Path, model: str, seed: int) -> MeasuredAnswers:
        calls.append((model, seed))
        return np.full(30, 20 * seed), np.zeros((30, 10), dtype=np.int64), ModelRun(1.0, 2.0, {})

    monkeypatch.setattr("jobs.bench.quality._run", run)
    report = bench_quality(bench_data(), ["EASE", "fused"], 2, lambda *_: None)
    assert calls == [("EASE", 0), ("fused", 0), ("fused", 1)]
    assert [model.figures["recall@10"].mean() for model in report.models] == [1.0, 0.5]
    assert set(MODELS) >= DETERMINISTIC


def test_a_model_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "absent", MODELS["EASE"])  # the parent knows it, the child does not
    with pytest.raises(DataError, match="model 'absent' failed: KeyError: 'absent'"):
        bench_quality(bench_data(), ["absent"], 1, lambda *_: None)


def in_this_process(folder: Path, model: str, seed: int) -> MeasuredAnswers:
    """Replaces `jobs.bench.quality._run`, whose processes take seconds to start."""
    answer = MODELS[model](BenchData.load(folder), folder, seed)
    return answer.ranks, answer.shown, ModelRun(answer.fit_s, 1.0, answer.chosen)


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal"])
def test_purchases_that_repeat_each_other_are_measured_with_repeats(
    protocol: Protocol, tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = favourites(protocol, tmp_path, tiny_bert)
    assert data.repeats
    assert data.test.targets["item_id"].to_list() == [f"own{user[1:]}" for user in data.test.targets["user_id"]]
    monkeypatch.setattr("jobs.bench.quality._run", in_this_process)
    report = bench_quality(data, ["popularity", "buy it again"], 1, lambda *_: None)
    assert [(row["model"], row["ndcg@10"]) for row in as_json(report)["rows"] if row["slice"] == "all"] == [
        ("popularity", 0.0),  # twelve things have more buyers than anybody's own
        ("buy it again", 1.0),
    ]
    output = io.StringIO()
    console = Console(file=output, width=300)
    print_report(report, console)
    assert "repeats count" in output.getvalue()


def test_without_repeats_there_is_no_row_buy_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.bench.quality._run", in_this_process)
    report = bench_quality(bench_data(), ["popularity", "buy it again", *OF_A_SAMPLE], 1, lambda *_: None)
    assert [model.model for model in report.models] == ["popularity"]


def test_the_command_prints_the_table_and_writes_the_figures(
    tmp_path: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "e.csv").write_text("user,product,when\n" + FIVE_USERS)
    (tmp_path / "c.csv").write_text("item_id,title\n" + "".join(f"p{n},w{n} w{n + 1}\n" for n in range(6)))
    (tmp_path / "recsys.toml").write_text(f'[encoder]\nmodel = "{tiny_bert}"\n')
    out = tmp_path / "out.json"
    named = [
        part for pair in ("user_id=user", "item_id=product", "timestamp=when") for part in ("--map", f"events.{pair}")
    ]
    files = ["--events", str(tmp_path / "e.csv"), "--catalog", str(tmp_path / "c.csv"), "--json", str(out)]
    options = ["--workspace", str(tmp_path / "kept"), "--config", str(tmp_path / "recsys.toml")]
    options += ["--protocol", "temporal", "--models", "popularity, EASE"]
    assert main(["bench", "quality", *files, *named, *options]) == 0
    content = json.loads(out.read_text())
    assert content.keys() == {"protocol", "n_users", "n_items", "rows"}
    assert (content["protocol"], content["n_items"]) == ("temporal", 6)
    assert [row["model"] for row in content["rows"] if row["slice"] == "all"] == ["popularity", "EASE"]
    assert all(row.keys() == KEYS and row["peak_mb"] > 10 for row in content["rows"])
    assert "temporal: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "EASE,svd"], "--models svd: no such model; choose from popularity, implicit ALS"),
        (["--json", "nowhere/out.json"], "does not exist; create it first"),
        (["--events", "absent.csv"], "absent.csv"),
    ],
)
def test_an_error_is_one_line(tmp_path, monkeypatch, capsys, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments if "--json" in arguments else [*arguments, "--json", "out.json"]
    given = given if "--events" in given else [*given, "--events", "absent.csv"]
    assert main(["bench", "quality", "--workspace", "kept", *given]) == 2
    assert message in capsys.readouterr().err
