"""Two processes that tune one encoder: what one process makes of twice the batches a step, also after a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from features.encoder.encoder import Encoder
from features.finetune.loop import OnStep, Step, Task, train
from features.finetune.tuning import load_trainable, tune
from recsys import config
from recsys.errors import StoreError

REPOSITORY = Path(__file__).parents[3]
N_BATCHES = 11  # odd: in the last step one process has nothing to do
TEXTS = ["w1 w2", "w3 w4 w5", "w39"]

CHILD = """
import sys
sys.path.insert(0, {folder!r})
import test_loop_parallel
test_loop_parallel.run_child(*sys.argv[1:])
"""


def settings(mode: str, accumulate: int = 1) -> config.FinetuneSettings:
    return config.FinetuneSettings.model_validate(
        {"mode": mode, "rank": 2, "gradient_accumulation_steps": accumulate, "precision": "fp32", "checkpoint_steps": 2}
    )


def tuned(
    model: str, chosen: config.FinetuneSettings, checkpoint: Path | None = None, on_step: OnStep | None = None
) -> Encoder:
    """With dropout, so that the draws of both processes matter."""
    encoder = load_trainable(config.EncoderSettings(model=model), chosen)
    tuning = tune(encoder.model, chosen, 6, seed=0)

    def loss(rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        ids = torch.tensor([[2, 5 + row, 6, 3] for row in rows])
        vectors = nn.functional.normalize(encoder.pooled(ids, torch.ones_like(ids)))
        return (vectors[:, 0] - float(rng.normal())).square().mean()

    # Batches of unequal size: every row counts alike, whoever reads it.
    batches = [np.arange(number, number + 2 + number % 2) for number in range(N_BATCHES)]
    rate = 0.01 if chosen.mode == "full" else 0.2
    train(Task("test", encoder.model, batches, loss, rate, "", tuning), chosen, 0, checkpoint, on_step)
    tuning.merge()
    return encoder


def run_child(task: str, rank: str, folder: str, model: str) -> None:
    """The life of one of two processes; its vectors lie in `folder`, each under the task and the rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/{task}-group", rank=int(rank), world_size=2)

    def kill(step: Step) -> None:
        if step.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint = Path(folder) / "checkpoint"
    match task:
        case "killed":
            tuned(model, settings("full"), checkpoint, kill)
        case "resumed":
            try:
                tuned(model, settings("full"), checkpoint if rank == "0" else Path(folder) / "absent")
            except StoreError as error:
                assert "not every training process can read this checkpoint" in str(error)
            else:
                raise AssertionError("one process started anew, and nobody noticed")
            steps: list[Step] = []
            np.save(f"{folder}/full {rank}.npy", tuned(model, settings("full"), checkpoint, steps.append).encode(TEXTS))
            assert [step.number for step in steps] == ([5, 6] if rank == "0" else [])
            np.save(f"{folder}/adalora {rank}.npy", tuned(model, settings("adalora")).encode(TEXTS))
    dist.destroy_process_group()


def start_pair(task: str, folder: Path, model: Path) -> list[subprocess.Popen[bytes]]:
    script = CHILD.format(folder=str(Path(__file__).parent))
    # Gloo would ask for the machine's name, which need not have an address.
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, "-c", script, task, str(rank), str(folder), str(model)] for rank in range(2)]
    return [subprocess.Popen(command, env=environment, cwd=REPOSITORY) for command in commands]


def test_two_processes_tune_as_one_does_also_after_a_kill(
    bert_folder: Path, load: Callable[[], Encoder], tmp_path: Path
) -> None:
    first, second = start_pair("killed", tmp_path, bert_folder)
    assert first.wait() == -signal.SIGKILL
    second.kill()  # it may wait for the first for a long time
    second.wait()
    assert [process.wait() for process in start_pair("resumed", tmp_path, bert_folder)] == [0, 0]
    untuned = load().encode(TEXTS)
    for mode in ("full", "adalora"):
        ours, other = (np.load(tmp_path / f"{mode} {rank}.npy") for rank in range(2))
        np.testing.assert_array_equal(ours, other)
        alone = tuned(str(bert_folder), settings(mode, accumulate=2)).encode(TEXTS)
        np.testing.assert_allclose(ours, alone, atol=1e-3)
        assert np.abs(ours - untuned).max() > 0.02
