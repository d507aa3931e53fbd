"""The loss of one batch: predicting each next item among the other items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recsys import config
from recsys.sequence.histories import Batch, Sequences, training_windows
from recsys.sequence.loss import Proposal, candidate_softmax, sample_candidates
from recsys.sequence.network import Network


@dataclass(frozen=True)
class TrainingData:
    """What training reads. item_text: (n_items, text_dim); browsing: (n_texts, text_dim); popularity: (n_items,)."""

    sequences: Sequences
    starts: np.ndarray
    lengths: np.ndarray
    item_text: Tensor | None
    browsing: Tensor | None
    popularity: np.ndarray

    def id_weights(self, prior: float) -> np.ndarray:
        """(n_items,) float32: n / (n + prior) of an item's n training events; 0 where there is nothing to learn from.

        An id that was seldom a target was mostly taught what it is not, and would keep its item out of every list.
        """
        n_events = self.popularity * (len(self.starts) > 0)
        weights: np.ndarray = (n_events / np.maximum(n_events + prior, 1e-9)).astype(np.float32)
        return weights

    @cached_property
    def proposal(self) -> Proposal:
        """What a sampled softmax draws its candidates from."""
        return Proposal(self.popularity)


def training_data(
    sequences: Sequences,
    text: np.ndarray | None,
    browsing_text: np.ndarray | None,
    n_items: int,
    settings: config.SequenceSettings,
    device: torch.device,
) -> TrainingData:
    def tensor(array: np.ndarray | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(array.astype(np.float32)).to(device)

    starts, lengths = training_windows(sequences, settings.max_length)
    items = sequences.item_rows[sequences.item_rows >= 0]
    popularity = np.bincount(items, minlength=n_items)
    return TrainingData(sequences, starts, lengths, tensor(text), tensor(browsing_text), popularity)


def prediction_loss(
    network: Network, data: TrainingData, batch: Batch, settings: config.SequenceSettings, rng: np.random.Generator
) -> Tensor:
    """Cross-entropy of the next items of one batch, among all warm items or a sample of them.

    Items without training events are no candidates: nothing would teach them but being wrong, which drives new items
    out of every list.
    """
    device = network.ids.weight.device
    has_item, is_text, has_target = batch.item_rows >= 0, batch.text_rows >= 0, batch.targets >= 0  # (b, l)
    items, targets = batch.item_rows[has_item], batch.targets[has_target]  # (m,), (t,)
    offsets = None
    if len(data.popularity) <= settings.max_full_softmax_items:
        rows = np.flatnonzero(data.popularity)  # (c,)
    else:
        needed = np.union1d(items, targets)
        rows, corrections = sample_candidates(data.proposal, settings.sampled_items, needed, rng)  # (c,)
        offsets = torch.from_numpy(corrections).to(device)  # (c,)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    candidates = _candidates(network, data, tensor(rows), settings.id_dropout)  # (c, dim)
    entries = candidates.new_zeros((*batch.item_rows.shape, network.shape.dim))  # (b, l, dim)
    entries[tensor(has_item)] = candidates[tensor(np.searchsorted(rows, items))]  # (m, dim)
    if data.browsing is not None and is_text.any():
        entries[tensor(is_text)] = network.texts(data.browsing[tensor(batch.text_rows[is_text])])  # (texts, dim)
    reads = network(entries, tensor(batch.event_types), tensor(batch.gaps))  # (b, l, dim)
    positions = tensor(np.searchsorted(rows, targets))  # (t,)
    return candidate_softmax(reads[tensor(has_target)], candidates, positions, offsets, settings.temperature)


def _candidates(network: Network, data: TrainingData, rows: Tensor, id_dropout: float) -> Tensor:
    """(c, dim) vectors of item `rows`, a share of those with text placed by it alone."""
    if data.item_text is None:
        return network.items(rows, None, torch.ones_like(rows, dtype=torch.bool))
    text = data.item_text[rows]  # (c, text_dim)
    dropped = (torch.rand(len(rows), device=rows.device) < id_dropout) & text.any(dim=1)  # (c,)
    return network.items(rows, text, ~dropped)
