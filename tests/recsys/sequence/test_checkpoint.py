"""Interrupted and repeated runs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from sequence_data import SMALL_AUTO, assert_equal_models, cycles, texts

from recsys.sequence import fit_sequence, training

REPOSITORY = Path(__file__).parents[3]


def test_a_run_killed_midway_goes_on_to_the_same_model(tmp_path: Path) -> None:
    """The child kills itself, without any chance to tidy up, after its second epoch."""
    script = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
from sequence_data import SMALL_AUTO, cycles, texts
from recsys.sequence import fit_sequence

def progress(epoch):
    if epoch.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)

settings = SMALL_AUTO.model_copy(update={{"dropout": 0.2, "epochs": 4}})
fit_sequence(cycles(9, 6, 5), texts(6), 6, settings, 1, checkpoint=Path(sys.argv[1]), progress=progress)
"""
    file = tmp_path / "run" / "checkpoint.safetensors"
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run([sys.executable, "-c", script, str(file)], env=environ, cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGKILL
    settings = SMALL_AUTO.model_copy(update={"dropout": 0.2, "epochs": 4})
    epochs: list[training.Epoch] = []
    data, text = cycles(9, 6, 5), texts(6)
    resumed = fit_sequence(data, text, 6, settings, 1, checkpoint=file, progress=epochs.append)
    assert [epoch.number for epoch in epochs] == [3, 4]
    assert_equal_models(resumed, fit_sequence(data, text, 6, settings, 1))


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    data = cycles(9, 6, 5)
    expected = fit_sequence(data, None, 6, SMALL_AUTO, 0)
    fit_sequence(data, None, 6, SMALL_AUTO, seed=1, checkpoint=file)
    assert_equal_models(fit_sequence(data, None, 6, SMALL_AUTO, 0, checkpoint=file), expected)
    file.write_bytes(file.read_bytes()[:100])
    assert_equal_models(fit_sequence(data, None, 6, SMALL_AUTO, 0, checkpoint=file), expected)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    epochs: list[training.Epoch] = []
    runs = [
        fit_sequence(cycles(9, 6, 5), None, 6, SMALL_AUTO, 0, checkpoint=tmp_path / "c", progress=epochs.append)
        for _ in range(2)
    ]
    assert len(epochs) == SMALL_AUTO.epochs
    assert_equal_models(*runs)
