from pathlib import Path

from features.workspace.training_curves import TRAINING_FILE, note_epoch, read_epochs
from recsys.sequence.training import Epoch


def test_repeated_epochs_are_recorded_once(tmp_path: Path) -> None:
    for number in (1, 2, 3, 2, 3):  # cut off in the third, after a checkpoint of the first
        note_epoch(tmp_path, "first", Epoch(number, 4, 3.0 / number, 0.1 * number))
    note_epoch(tmp_path, "fit", Epoch(1, 4, 3.0, None))
    epochs_by_fit = read_epochs(tmp_path)
    assert [epoch.number for epoch in epochs_by_fit["first"]] == [1, 2, 3]
    assert epochs_by_fit["fit"] == [Epoch(1, 4, 3.0, None)]
    (tmp_path / TRAINING_FILE).write_text("{")
    assert read_epochs(tmp_path) == {}


def test_an_epoch_that_cannot_be_noted_does_not_end_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    note_epoch(tmp_path / "file" / "run", "first", Epoch(1, 4, 3.0, None))
