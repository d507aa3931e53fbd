from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from features.finetune.loop import Trained
from features.finetune.record import (
    FinetuneRecord,
    StageRecord,
    plot_learning_curves,
    read_record,
    smoothed,
    stage_record,
    write_record,
)
from features.finetune.tuning import Parameters
from recsys.errors import DataError

STAGE = stage_record(
    "mlm", "lora", Trained((3.0, 2.0, 1.5), 2.5), Parameters(10, 100), 7, {"perplexity": 20.0}, {"perplexity": 4.5}
)
RECORD = FinetuneRecord("base-id", "tuned-id", 3, "cpu", (STAGE, StageRecord("sentiment", skipped="no reviews")))


def test_a_stage_is_told_with_its_figures() -> None:
    assert (STAGE.seconds, STAGE.trainable_parameters, STAGE.parameters, STAGE.n_examples) == (2.5, 10, 100, 7)
    assert STAGE.peak_memory_mb > 10


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path / "runs" / "finetune.json")
    assert read_record(tmp_path / "runs" / "finetune.json") == RECORD
    content = json.loads((tmp_path / "runs" / "finetune.json").read_text())
    assert content["stages"][0]["losses"] == [3.0, 2.0, 1.5]
    assert content["stages"][1]["skipped"] == "no reviews"


@pytest.mark.parametrize("content", [None, "{", "[]", '{"stages": []}', '{"stages": [{"losses": 1}]}'])
def test_what_is_no_record_is_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "record.json").write_text(content)
    with pytest.raises(DataError, match=r"record\.json: (no|not a) "):
        read_record(tmp_path / "record.json")


def test_curves_are_drawn_for_what_was_trained(tmp_path: Path) -> None:
    plot_learning_curves(RECORD, tmp_path / "one.png")
    plot_learning_curves(FinetuneRecord("a", "b", 0, "cpu", (STAGE, STAGE)), tmp_path / "two.png")
    plot_learning_curves(FinetuneRecord("a", "b", 0, "cpu", ()), tmp_path / "none.png")
    widths = [imread(tmp_path / f"{name}.png").shape[1] for name in ("one", "two", "none")]
    assert widths == [600, 1200, 600]
    blue = np.array([31, 119, 180]) / 255
    picture = imread(tmp_path / "one.png")[:, :, :3]
    assert (np.abs(picture - blue).max(axis=2) < 0.02).sum() > 100  # the curve


def test_a_smoothed_curve_weighs_what_there_is() -> None:
    np.testing.assert_allclose(smoothed(np.array([4.0, 1.0]), n_steps=2), [4.0, (4.0 * 0.5 + 1.0) / 1.5])
    assert len(smoothed(np.array([]), n_steps=2)) == 0
