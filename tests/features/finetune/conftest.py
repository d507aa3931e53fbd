"""A tiny encoder that can be tuned in no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from features.encoder.encoder import Encoder
from features.finetune.tuning import load_trainable
from recsys import config


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices only wait for each other on more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def load(bert_folder: Path) -> Callable[[], Encoder]:
    """Loads the tiny encoder anew, as training is to find it."""
    return lambda: load_trainable(config.EncoderSettings(model=str(bert_folder)), config.FinetuneSettings())


@pytest.fixture
def encoder(load: Callable[[], Encoder]) -> Encoder:
    return load()
