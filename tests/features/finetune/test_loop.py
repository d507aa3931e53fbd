from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from features.encoder.encoder import Encoder
from features.finetune.loop import Step, Task, Trained, lr_factor, steps_of, train
from features.finetune.tuning import tune
from recsys import config
from recsys.errors import TrainingError

X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
Y = torch.tensor([1.0, -1.0, 0.0, 1.0])
BATCHES = [np.array(rows) for rows in ([0, 1], [2, 3], [1, 2], [3, 0], [0, 2], [1, 3])]
SETTINGS = config.FinetuneSettings(weight_decay=0.0, checkpoint_steps=2, precision="fp32")


class KilledError(Exception):
    pass


def small() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1))


def task(module: nn.Module, rate: float = 0.05, batches: list[np.ndarray] | None = None, shaped_by: str = "") -> Task:
    def loss(rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        noise = float(rng.normal())
        return ((module(X[rows]).squeeze(1) - Y[rows] + 0.01 * noise) ** 2).mean()

    return Task("test", module, BATCHES if batches is None else batches, loss, rate, shaped_by)


def kill_at(number: int) -> Callable[[Step], None]:
    def on_step(step: Step) -> None:
        if step.number == number:
            raise KilledError

    return on_step


def equal(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_it_learns_a_line() -> None:
    line = nn.Linear(2, 1)
    losses = train(task(line, batches=[np.arange(4)] * 300), SETTINGS, seed=0).losses
    assert losses[-1] < 0.01
    np.testing.assert_allclose(line.weight.detach().numpy(), [[1.0, -1.0]], atol=0.1)
    assert not line.training


def test_the_first_step_is_adams_with_the_warm_up_step_size() -> None:
    line = nn.Linear(2, 1, bias=False)
    before = line.weight.detach().clone()
    settings = SETTINGS.model_copy(update={"warm_up_share": 1.0})
    train(task(line, rate=0.6, batches=[np.array([0, 1])]), settings, seed=0)
    # Adam's first step is the step size against the sign of the gradient, whatever its length.
    np.testing.assert_allclose((line.weight - before).abs().detach().numpy(), [[0.6, 0.6]], rtol=1e-4)


@pytest.mark.parametrize("killed_at", [1, 2, 3, 5, 6])
def test_a_killed_run_ends_as_an_undisturbed_one(killed_at: int, tmp_path: Path) -> None:
    undisturbed, killed, resumed = small(), small(), small()
    whole = train(task(undisturbed), SETTINGS, seed=1)
    with pytest.raises(KilledError):
        train(task(killed), SETTINGS, seed=1, checkpoint=tmp_path / "run", on_step=kill_at(killed_at))
    steps: list[Step] = []
    rest = train(task(resumed), SETTINGS, seed=1, checkpoint=tmp_path / "run", on_step=steps.append)
    assert len(steps) == 6 - (6 if killed_at == 6 else killed_at // 2 * 2)
    assert rest.losses == whole.losses
    assert equal(resumed, undisturbed)


@pytest.mark.parametrize("mode", ["full", "lora", "adalora", "adapter"])
def test_a_killed_tuning_ends_as_an_undisturbed_one(mode: str, load: Callable[[], Encoder], tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"mode": mode, "rank": 2, "bottleneck": 4})

    def run(checkpoint: Path | None, on_step: Callable[[Step], None] | None = None) -> np.ndarray:
        encoder = load()
        tuning = tune(encoder.model, settings, 10, seed=0)

        def loss(rows: np.ndarray, rng: np.random.Generator) -> Tensor:
            ids = torch.tensor([[2, 5 + row, 6, 3] for row in rows])
            return -nn.functional.normalize(encoder.pooled(ids, torch.ones_like(ids)))[:, 0].mean()

        batches = [np.array([step, step + 7]) for step in range(10)]
        train(Task(mode, encoder.model, batches, loss, 0.01, "", tuning), settings, 0, checkpoint, on_step)
        tuning.merge()
        return encoder.encode(["w1 w2", "w9"])

    with pytest.raises(KilledError):
        run(tmp_path / "run", kill_at(9))
    np.testing.assert_array_equal(run(tmp_path / "run"), run(None))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"rate": 0.01},
        {"shaped_by": "other texts"},
        {"batches": BATCHES[::-1]},
        {"settings": SETTINGS.model_copy(update={"weight_decay": 0.1})},
        {"damage": True},
    ],
)
def test_a_checkpoint_of_something_else_is_not_taken_up(change: dict, tmp_path: Path) -> None:
    train(task(small()), SETTINGS, seed=1, checkpoint=tmp_path / "run")
    if change.get("damage"):
        (tmp_path / "run").write_bytes(b"torn")
    changes = {key: change[key] for key in ("rate", "shaped_by", "batches") if key in change}
    anew: list[Step] = []
    train(
        task(small(), **changes),
        change.get("settings", SETTINGS),
        seed=change.get("seed", 1),
        checkpoint=tmp_path / "run",
        on_step=anew.append,
    )
    assert len(anew) == 6


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    first, again = small(), small()
    written = train(task(first), SETTINGS, seed=1, checkpoint=tmp_path / "run")
    read = train(task(again), SETTINGS, seed=1, checkpoint=tmp_path / "run", on_step=kill_at(1))
    assert written == read
    assert equal(first, again)


def test_accumulated_batches_are_one_large_batch() -> None:
    def run(batches: list[np.ndarray], accumulate: int) -> Trained:
        line = nn.Linear(2, 1)
        nn.init.zeros_(line.weight)
        nn.init.zeros_(line.bias)

        def loss(rows: np.ndarray, rng: np.random.Generator) -> Tensor:
            return ((line(X[rows]).squeeze(1) - Y[rows]) ** 2).mean()

        settings = SETTINGS.model_copy(update={"gradient_accumulation_steps": accumulate})
        return train(Task("test", line, batches, loss, 0.1, ""), settings, seed=0)

    # Batches of unequal size: each row counts alike.
    accumulated = run([np.array([0, 1, 2]), np.array([3])] * 5, accumulate=2)
    assert accumulated.losses == pytest.approx(run([np.arange(4)] * 5, accumulate=1).losses, rel=1e-5)
    assert len(accumulated.losses) == 5 == steps_of(10, SETTINGS.model_copy(update={"gradient_accumulation_steps": 2}))


def test_each_step_is_told_with_its_loss() -> None:
    steps: list[Step] = []
    trained = train(task(small()), SETTINGS, seed=1, on_step=steps.append)
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6]
    assert tuple(step.loss for step in steps) == trained.losses
    assert {(step.stage, step.n_steps) for step in steps} == {("test", 6)}


def test_the_step_size_rises_and_falls() -> None:
    shares = [lr_factor(step, 20, 0.2) for step in range(20)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[12] == pytest.approx(0.5)
    assert all(earlier >= later for earlier, later in pairwise(shares[3:]))
    assert lr_factor(0, 1, 0.1) == 1.0


def test_a_loss_that_is_not_finite_ends_the_run_before_it_spoils_the_weights() -> None:
    line = nn.Linear(2, 1)
    before = line.weight.detach().clone()
    broken = Task("mlm", line, BATCHES, lambda rows, rng: line(X).sum() * float("nan"), 0.1, "")
    with pytest.raises(TrainingError, match="mlm: the loss in step 1 is nan; lower its learning_rate"):
        train(broken, SETTINGS, seed=0)
    assert torch.equal(line.weight, before)


def test_the_callers_random_numbers_stay_as_they_were() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    model = small()
    torch.manual_seed(7)
    train(task(model), SETTINGS, seed=0)
    assert torch.equal(torch.rand(1), expected)
