"""The sequence model is fitted in this process, or by Ray Train's workers where there is something to gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from sequence_data import SMALL, assert_equal_models, cycles, histories, texts

from jobs.cluster import training_workers
from jobs.cluster.training_workers import workers_to_use
from jobs.training.sequence import train_sequence
from recsys.errors import DataError
from recsys.sequence import fit_sequence
from recsys.sequence.training import Epoch

DATA = cycles(12, 12, 6)
PAIR = SMALL.model_copy(update={"workers": 2, "warm_epochs": 2, "epochs": 25})


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize("workers", [0, 1])
def test_one_processor_needs_no_ray(
    workers: int, no_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    settings = SMALL.model_copy(update={"workers": workers})
    validation = (DATA, np.zeros(12, dtype=int))
    epochs: list[Epoch] = []
    storage = tmp_path / "storage"
    model = train_sequence(
        DATA, texts(12), 12, settings, 1, storage=storage, validation=validation, progress=epochs.append
    )
    assert_equal_models(model, fit_sequence(DATA, texts(12), 12, settings, 1, validation=validation))
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert not storage.exists()


def test_what_does_not_fit_together_is_refused_before_ray_starts(no_ray: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 text vectors for 12 items"):
        train_sequence(DATA, texts(5), 12, PAIR, 0, storage=tmp_path)


@pytest.mark.parametrize(
    ("requested", "n_gpus", "used"),
    [
        (0, 0, (1, False)),
        (0, 1, (1, True)),
        (0, 8, (8, True)),
        (2, 8, (2, True)),
        (9, 8, (8, True)),  # two processes cannot share a GPU
        (3, 0, (3, False)),
    ],
)
@pytest.mark.parametrize("cluster", [False, True])
def test_every_gpu_has_a_worker_unless_another_number_is_asked_for(
    requested: int, n_gpus: int, used: tuple[int, bool], cluster: bool, no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's GPUs are counted, or where RAY_ADDRESS names a cluster, those of the cluster."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0 if cluster else n_gpus)
    if cluster:
        monkeypatch.setenv("RAY_ADDRESS", "ray-head:6379")
        monkeypatch.setattr(training_workers, "start_ray", lambda: None)
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": float(n_gpus)})
    assert workers_to_use(requested) == used


@pytest.mark.usefixtures("local_ray")
def test_two_workers_of_ray_train_fit_one_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The first run is given up, and no worker of it is in the second one's way, which starts warm."""
    given_up: list[Epoch] = []

    def give_up(epoch: Epoch) -> None:
        given_up.append(epoch)
        raise InterruptedError

    storage, checkpoint = tmp_path / "storage", tmp_path / "run" / "checkpoint.safetensors"
    endless = PAIR.model_copy(update={"epochs": 10**6})
    with pytest.raises(InterruptedError):
        train_sequence(DATA, None, 12, endless, 0, storage=storage, progress=give_up)
    before = fit_sequence(DATA, None, 12, PAIR, 0)
    epochs: list[Epoch] = []
    model = train_sequence(
        DATA, None, 12, PAIR, 1, storage=storage, checkpoint=checkpoint, warm_start=before, progress=epochs.append
    )
    assert [epoch.number for epoch in given_up + epochs] == [1, 1, 2]
    assert epochs[0].loss < 0.5 * given_up[0].loss
    assert not np.allclose(model.item_vectors, before.item_vectors, atol=1e-4)
    assert model.scores(histories([3, 4], [10, 11], [7])).argmax(axis=1).tolist() == [5, 0, 8]
    assert checkpoint.is_file()
    assert list(storage.iterdir()) == []
    assert capfd.readouterr() == ("", "")
