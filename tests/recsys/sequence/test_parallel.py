"""Two processes that fit one model: what one process with twice the batch gives, also after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
from sequence_data import SMALL, assert_equal_models, cycles, histories, texts

from recsys.errors import StoreError
from recsys.sequence import SequenceModel, fit_sequence, training
from recsys.sequence.histories import length_bucketed
from recsys.sequence.training import Epoch

REPOSITORY = Path(__file__).parents[3]
N_ITEMS = 9
WIDE = cycles(16, N_ITEMS, 5)
SEARCHES = histories([0, -1, 1, 2], [3, 4, 5], [1, 2, 3], [5, 6, 7], [-2, 7, 8], [2, 3, 4])
"""Only two of six histories hold a text, so that a process, or all, may be without one in a step."""
KEYS = slice(SMALL.dim, 2 * SMALL.dim)
"""Of the queries, keys and values of the one head."""
BARE = SMALL.model_copy(update={"id_dropout": 0.0, "epochs": 2})
CASES = {
    "all items ranked": (WIDE, None, BARE, {}),
    "sampled items": (WIDE, texts(N_ITEMS), BARE.model_copy(update={"max_full_softmax_items": 1}), {}),
    "odd number of batches": (cycles(9, N_ITEMS, 5), None, BARE.model_copy(update={"batch_events": 12}), {}),
    "texts in some": (
        SEARCHES,
        None,
        BARE.model_copy(update={"batch_events": 3, "max_length": 4}),
        {"browsing_text": texts(2)},
    ),
    "a part an epoch": (WIDE, None, BARE.model_copy(update={"max_epoch_events": 34, "batch_events": 8}), {}),
    "best on validation": (WIDE, None, BARE, {"validation": (WIDE, np.arange(16) % N_ITEMS)}),
}
INTERRUPTED = SMALL.model_copy(update={"dropout": 0.2, "epochs": 4})

CHILD = """
import sys
sys.path[:0] = [{tests!r}, {folder!r}]
import test_parallel
test_parallel.run_child(*sys.argv[1:])
"""


def run_child(task: str, rank: str, folder: str) -> None:
    """The life of one of two processes; what it made lies in `folder`, each result under a name and the rank."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/{task}-group", rank=int(rank), world_size=2)
    {"fit": fit_cases, "killed": be_killed, "resumed": resume}[task](Path(folder), int(rank))
    dist.destroy_process_group()


def fit_cases(folder: Path, rank: int) -> None:
    for name, (sequences, text, settings, more) in CASES.items():
        epochs: list[Epoch] = []
        model = fit_sequence(sequences, text, N_ITEMS, settings, 1, progress=epochs.append, **more)
        model.save(folder / f"{name} {rank}")
        (folder / f"{name} {rank}.json").write_text(json.dumps([asdict(epoch) for epoch in epochs]))
    fit_sequence(WIDE, texts(N_ITEMS), N_ITEMS, INTERRUPTED, 1).save(folder / f"whole {rank}")


def be_killed(folder: Path, rank: int) -> None:
    def progress(epoch: Epoch) -> None:
        if epoch.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint = folder / "checkpoint"
    fit_sequence(WIDE, texts(N_ITEMS), N_ITEMS, INTERRUPTED, 1, checkpoint=checkpoint, progress=progress)


def resume(folder: Path, rank: int) -> None:
    unshared = folder / ("checkpoint" if rank == 0 else "absent")
    with pytest.raises(StoreError, match="not every training process can read this checkpoint"):
        fit_sequence(WIDE, texts(N_ITEMS), N_ITEMS, INTERRUPTED, 1, checkpoint=unshared)
    epochs: list[Epoch] = []
    checkpoint = folder / "checkpoint"
    model = fit_sequence(WIDE, texts(N_ITEMS), N_ITEMS, INTERRUPTED, 1, checkpoint=checkpoint, progress=epochs.append)
    model.save(folder / f"resumed {rank}")
    assert [epoch.number for epoch in epochs] == ([3, 4] if rank == 0 else [])


def start_pair(task: str, folder: Path) -> list[subprocess.Popen[bytes]]:
    script = CHILD.format(tests=str(REPOSITORY / "tests"), folder=str(Path(__file__).parent))
    # Gloo would ask for the machine's name, which need not have an address.
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, "-c", script, task, str(rank), str(folder)] for rank in range(2)]
    return [subprocess.Popen(command, env=environment, cwd=REPOSITORY) for command in commands]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all that two processes made of the cases."""
    folder = tmp_path_factory.mktemp("pair")
    assert [process.wait() for process in start_pair("fit", folder)] == [0, 0]
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_fit_what_one_with_twice_the_batch_does(
    name: str, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubled(lengths: np.ndarray, batch_events: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        batches = list(length_bucketed(lengths, batch_events, rng))
        assert len(batches) > 2
        assert len(batches) % 2 == (name == "odd number of batches")
        return (np.concatenate(batches[start : start + 2]) for start in range(0, len(batches), 2))

    monkeypatch.setattr(training, "length_bucketed", doubled)
    sequences, text, settings, more = CASES[name]
    epochs: list[Epoch] = []
    expected = fit_sequence(sequences, text, N_ITEMS, settings, 1, progress=epochs.append, **more)
    first, second = (SequenceModel.load(fitted / f"{name} {rank}") for rank in range(2))
    assert_equal_models(first, second)
    np.testing.assert_allclose(first.item_vectors, expected.item_vectors, atol=1e-4)
    ours, other = first.network.state_dict(), expected.network.state_dict()
    for weights in (ours, other):
        # Attention does not depend on the keys' bias: its gradient is rounding alone, which Adam makes whole steps of.
        weights["blocks.0.attention.inputs.bias"][KEYS] = 0.0
    for weight, value in other.items():
        np.testing.assert_allclose(ours[weight], value, atol=1e-4, err_msg=weight)
    reports = json.loads((fitted / f"{name} 0.json").read_text())
    assert [report["number"] for report in reports] == [1, 2]
    np.testing.assert_allclose([report["loss"] for report in reports], [epoch.loss for epoch in epochs], rtol=1e-4)
    assert (reports[0]["ndcg"] is None) == (name != "best on validation")
    assert json.loads((fitted / f"{name} 1.json").read_text()) == []


def test_killed_processes_go_on_to_the_same_model_and_in_another_number(fitted: Path, tmp_path: Path) -> None:
    """The first kills itself, without any chance to tidy up, after the second epoch; the other one may hang then."""
    first, second = start_pair("killed", tmp_path)
    assert first.wait() == -signal.SIGKILL
    second.kill()
    second.wait()
    shutil.copy(tmp_path / "checkpoint", tmp_path / "copy")
    assert [process.wait() for process in start_pair("resumed", tmp_path)] == [0, 0]
    for rank in range(2):
        assert_equal_models(SequenceModel.load(tmp_path / f"resumed {rank}"), SequenceModel.load(fitted / "whole 0"))
    epochs: list[Epoch] = []
    alone = INTERRUPTED.model_copy(update={"workers": 1})
    fit_sequence(WIDE, texts(N_ITEMS), N_ITEMS, alone, 1, checkpoint=tmp_path / "copy", progress=epochs.append)
    assert [epoch.number for epoch in epochs] == [3, 4]
