"""`recsys finetune` on a tiny shop, and nightly runs after it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tuning_shop import NOW, START, make_shop, reviews, settings

from features.encoder.encoder import load_encoder
from features.encoder.selection import read_selected, resolve_path
from features.finetune.record import FinetuneRecord, StageRecord, read_record
from features.store.release import load_release
from features.store.store import Store
from features.workspace.lease import hold_lease
from jobs.__main__ import main
from jobs.finetune.data import TuningData, read_tuning_data
from jobs.finetune.run import FinetuneReport, finetune
from jobs.nightly.run import nightly
from recsys import config
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.workspace import Workspace

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices only wait for each other on more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def quiet(*_: object) -> None:
    """Ignores progress."""


def write_settings(workspace: Workspace, chosen: Settings) -> None:
    """The settings that the tests change, as a settings file."""
    given = json.loads(chosen.model_dump_json(exclude_defaults=True))
    lines = []
    for section, values in given.items():
        flat = {key: value for key, value in values.items() if not isinstance(value, dict)}
        parts = {section: flat} | {
            f"{section}.{key}": value for key, value in values.items() if isinstance(value, dict)
        }
        for name, settings_of in parts.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in settings_of.items())]
    workspace.settings_file.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Tuned:
    """A workspace after the command: what it printed, and what it recorded."""

    workspace: Workspace
    settings: Settings
    printed: str
    record: FinetuneRecord

    @property
    def name(self) -> str:
        (folder,) = self.workspace.runs.iterdir()
        return folder.name

    def copy(self, folder: Path) -> Workspace:
        copied = Workspace(folder / "copied")
        shutil.copytree(self.workspace.root, copied.root)
        return copied


@pytest.fixture(scope="module")
def tuned(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    workspace = make_shop(tmp_path_factory.mktemp("tuned"))
    chosen = settings(bert_folder)
    write_settings(workspace, chosen)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("COLUMNS", "80")
        patch.chdir(workspace.root.parent)
        assert main(["finetune", "--workspace", workspace.root.name]) == 0
    (folder,) = workspace.runs.iterdir()
    return Tuned(workspace, chosen, printed.getvalue(), read_record(folder / "record.json"))


def test_the_command_trains_saves_records_and_adopts(tuned: Tuned) -> None:
    run = tuned.workspace.runs / tuned.name
    trained = [stage.stage for stage in tuned.record.stages]
    assert trained == ["mlm", "projection", "contrastive", "projection", "sentiment"]
    assert not any(stage.skipped for stage in tuned.record.stages)
    assert (run / "learning-curves.png").read_bytes().startswith(b"\x89PNG")
    verdict = json.loads((run / "verdict.json").read_text())
    assert verdict["adopted"] and 0 < verdict["low"] <= verdict["after"] - verdict["before"] <= verdict["high"]
    adopted = read_selected(tuned.workspace, tuned.settings.encoder.model)
    assert adopted is not None
    assert (adopted.model, adopted.head) == (f"workspace:{tuned.name}", tuned.name)
    assert sorted(path.name for path in tuned.workspace.encoders.iterdir()) == ["current.json", tuned.name]
    encoder = load_encoder(
        resolve_path(tuned.workspace, config.EncoderSettings(model=adopted.model, sha256=adopted.sha256))
    )
    assert encoder.id == tuned.record.tuned != tuned.record.base
    assert not tuned.workspace.tuning.exists()


def test_the_table_fits_80_columns_and_ends_with_the_verdict(tuned: Tuned) -> None:
    lines = [line.strip() for line in tuned.printed.splitlines()]
    assert max(len(line) for line in lines if "record and learning curves" not in line) <= 80
    assert lines[1].split() == ["stage", "trainable", "seconds", "MB", "held", "out", "before", "after"]
    assert sum(line.startswith("(full)") for line in lines) == 2
    for stage, measure in (("mlm", "perplexity"), ("contrastive", "mrr@10"), ("sentiment", "macro_f1")):
        assert any(line.startswith(stage) for line in lines), stage
        assert any(measure in line for line in lines), measure
    text = " ".join(lines)
    assert "adopted: significantly better" in text and "95 % interval +0." in text and "…" not in text


def test_a_nightly_run_embeds_only_with_the_adopted_encoder(tuned: Tuned, tmp_path: Path) -> None:
    workspace = tuned.copy(tmp_path)  # at another place than where it was adopted
    night = nightly(workspace, tuned.settings, None, NOW, quiet)
    release = Store(workspace).open()
    assert release.manifest.encoder_id == tuned.record.tuned
    table = release.table("reviews")
    assert table["encoder"].unique().to_list() == [tuned.record.tuned]
    loaded = load_release(workspace)
    assert loaded.release_id == night.release_id
    encoder = load_encoder(loaded.encoder)
    assert Path(loaded.encoder.model).parent == workspace.encoders
    rows = table.head(5)
    np.testing.assert_allclose(rows["vector"].to_numpy(), encoder.encode(rows["text"].to_list()), atol=1e-5)

    feelings = reviews().select("review_id", stars="rating").join(table, on="review_id")
    by_stars = dict(feelings.group_by("stars").agg(pl.col("sentiment").mean()).iter_rows())
    assert by_stars[5.0] > 0.3 > 0 > by_stars[1.0]
    assert table["sentiment"].is_between(-1, 1).all()
    of_items = table.group_by("item_id").agg(expected=pl.col("sentiment").mean())
    items = release.table("items").join(of_items, on="item_id", how="left")
    assert items["sentiment"].null_count() == items["expected"].null_count() == 60
    assert (items["sentiment"] - items["expected"]).abs().max() < 1e-5


def test_settings_with_another_encoder_take_precedence(tuned: Tuned, tiny_bert: Path) -> None:
    assert read_selected(tuned.workspace, str(tiny_bert)) is None


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"?"), "model.safetensors: altered: its SHA-256 is"),
        (lambda file: file.unlink(), "model.safetensors: missing, 1 of"),
        (
            lambda file: (file.parent.parent / "current.json").write_text("{"),
            "current.json: not a valid encoder selection",
        ),
    ],
)
def test_a_damaged_encoder_is_refused_in_one_line(
    harm, message: str, tuned: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tuned.copy(tmp_path)
    harm(workspace.encoders / tuned.name / "model.safetensors")
    for command in ("nightly", "finetune"):
        assert main([command, "--workspace", str(workspace.root)]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("recsys: error:")]
        assert len(errors) == 1 and message in errors[0] and "run `recsys finetune` again, or delete" in errors[0]
    assert Store(workspace).current_id() is None


def test_an_encoder_that_is_not_better_is_not_adopted(bert_folder: Path, tmp_path: Path) -> None:
    workspace = make_shop(tmp_path)
    still = settings(bert_folder, stages=["contrastive"])
    contrastive = still.finetune.contrastive.model_copy(update={"learning_rate": 1e-9, "epochs": 1})
    still = still.model_copy(update={"finetune": still.finetune.model_copy(update={"contrastive": contrastive})})
    report = finetune(workspace, still, None, NOW, quiet)
    assert not report.verdict.adopted and report.verdict.n_anchors >= 20
    assert report.verdict.low <= 0
    assert read_selected(workspace, str(bert_folder)) is None
    assert (workspace.encoders / report.name / "model.safetensors").is_file()  # to be looked at
    assert report.record.tuned not in (report.record.base, "")


def test_two_runs_do_not_tune_one_workspace(bert_folder: Path, workspace: Workspace) -> None:
    with hold_lease(workspace.tuning_lease, NOW, 1.0), pytest.raises(StoreError, match="finetune-lease"):
        finetune(workspace, settings(bert_folder), None, NOW, quiet)


def test_nothing_after_as_of_is_trained_on(bert_folder: Path, tmp_path: Path) -> None:
    workspace = make_shop(tmp_path)
    loaded, chosen = load_encoder(config.EncoderSettings(model=str(bert_folder))), settings(bert_folder)
    pairs = chosen.finetune.pairs.model_copy(update={"adjacent": 1.0, "review": 1.0})
    chosen = chosen.model_copy(update={"finetune": chosen.finetune.model_copy(update={"pairs": pairs})})

    def read(as_of: datetime) -> TuningData:
        return read_tuning_data(workspace, loaded, chosen.encoder, chosen, as_of, quiet)

    early, late = read(START + timedelta(days=2)), read(NOW)
    before = reviews().filter(pl.col("timestamp") < START + timedelta(days=2))
    assert sorted(early.reviews["review_id"]) == sorted(before["review_id"])
    assert early.pairs is not None and late.pairs is not None
    adjacent = [data.pairs.filter(pl.col("kind") == "adjacent") for data in (early, late)]
    assert 0 < adjacent[0].height < adjacent[1].height
    unsaid = set(reviews()["text"]) - set(before["text"])
    assert unsaid and not unsaid & set(early.texts) and unsaid <= set(late.texts)


def test_a_stage_without_data_is_skipped_and_says_so(
    bert_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make_shop(tmp_path, with_reviews=False)
    write_settings(workspace, settings(bert_folder, stages=["sentiment"]))
    assert main(["finetune", "--workspace", str(workspace.root)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "sentiment skipped: sentiment: 0 reviews, none of them has a text" in output
    assert "not adopted: every stage was skipped" in output
    (run,) = workspace.runs.iterdir()
    assert read_record(run / "record.json").stages == (
        StageRecord("sentiment", skipped=read_record(run / "record.json").stages[0].skipped),
    )
    assert list(workspace.encoders.iterdir()) == []


def test_a_sentiment_head_alone_keeps_the_encoder_in_use(tuned: Tuned, tmp_path: Path) -> None:
    workspace = tuned.copy(tmp_path)
    sentiment = {**tuned.settings.finetune.sentiment.model_dump(), "epochs": 3}
    head_alone = settings(Path(tuned.settings.encoder.model), stages=["sentiment"], sentiment=sentiment)
    report = finetune(workspace, head_alone, None, NOW, quiet)
    before, after = (read_selected(place, tuned.settings.encoder.model) for place in (tuned.workspace, workspace))
    assert before is not None and after is not None
    assert report.verdict.adopted and report.record.tuned == ""
    assert (after.model, after.sha256) == (before.model, before.sha256)
    assert after.head == report.name != before.head
    assert before.files.items() <= after.files.items()


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tuning_shop import NOW, settings
import torch
from jobs.finetune.run import finetune
from recsys.workspace import Workspace

torch.set_num_threads(1)

def wait_to_be_killed(what, done, total):
    if what == "train contrastive" and done == 9:
        print("there", flush=True)
        sys.stdin.read()

finetune(Workspace(Path({root!r})), settings(Path({model!r})), None, NOW, wait_to_be_killed)
"""


def test_a_killed_run_is_resumed_with_the_same_result(tuned: Tuned, tmp_path: Path) -> None:
    workspace = make_shop(tmp_path)
    model = tuned.settings.encoder.model
    script = KILLED.format(tests=str(REPOSITORY / "tests"), root=str(workspace.root), model=model)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with run:
        assert run.stdout is not None
        assert run.stdout.readline() == "there\n"
        run.send_signal(signal.SIGKILL)
    assert len(list(workspace.encoders.iterdir())) == 1  # a draft

    steps: list[tuple[str, int]] = []
    report = finetune(
        workspace, tuned.settings, None, NOW + timedelta(hours=1), lambda what, done, of: steps.append((what, done))
    )
    assert not any(what.startswith("train mlm") for what, _ in steps)
    assert min(done for what, done in steps if what == "train contrastive") == 9
    assert report.name == tuned.name  # which tells the digest of its weights
    assert sorted(path.name for path in workspace.encoders.iterdir()) == ["current.json", tuned.name]
    assert not workspace.tuning.exists()


@pytest.mark.usefixtures("local_ray")
def test_two_workers_of_ray_train_tune_one_encoder(
    bert_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = make_shop(tmp_path)
    pair = settings(bert_folder, stages=["contrastive", "sentiment"], workers=2)
    stages: list[str] = []
    report: FinetuneReport = finetune(workspace, pair, None, NOW, lambda what, *_: stages.append(what))
    assert not any(stage.skipped for stage in report.record.stages)
    assert report.verdict.adopted
    assert {"train contrastive", "train sentiment weighted"} <= set(stages)
    assert sorted(path.name for path in workspace.encoders.iterdir()) == ["current.json", report.name]
    assert capfd.readouterr() == ("", "")
