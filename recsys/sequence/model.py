"""A fitted sequence model: NumPy in, NumPy out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recsys.errors import DataError, StoreError
from recsys.sequence.histories import Sequences, padded
from recsys.sequence.network import Network, Shape
from recsys.sequence.reader import Reader

WEIGHTS_FILE = "sequence.safetensors"
BATCH_EVENTS = 16_384
BLOCK_ITEMS = 16_384


@dataclass(frozen=True)
class SequenceModel:
    """Items, texts and shoppers as unit vectors of one space; their dot product is the score.

    item_vectors: (n_items, dim) float32; a zero row for an item with neither training events nor text. has_id:
    (n_items,) bool, whether the item was in the training data: the others are placed by their text alone. epochs: the
    passes over the data that made the weights.
    """

    network: Network
    item_vectors: np.ndarray
    has_id: np.ndarray
    epochs: int = 0

    def query_vectors(self, sequences: Sequences, browsing_text: np.ndarray | None = None) -> np.ndarray:
        """(n, dim) float32: what each shopper looks for next; zero for an empty history.

        browsing_text: (n_texts, text_dim) whitened like the items' texts; `text_rows` are positions in it. Of a long
        history the newest entries are read. Raises DataError where sequences and arrays do not fit together.
        """
        sequences.check(len(self.item_vectors), 0 if browsing_text is None else len(browsing_text))
        return self.read(sequences, None if browsing_text is None else self.place(browsing_text))

    def read(self, sequences: Sequences, texts: np.ndarray | None) -> np.ndarray:
        """`query_vectors` of histories that are known to be sound, with texts placed before: (n_texts, dim)."""
        if len(sequences) == 1 and self.network.ids.weight.device.type == "cpu":
            return self._read_one(sequences, texts)
        lengths = np.minimum(np.diff(sequences.indptr), self.network.shape.max_length)
        starts = sequences.indptr[1:] - lengths
        queries = np.zeros((len(sequences), self.network.shape.dim), dtype=np.float32)
        rows = np.argsort(lengths, kind="stable")
        rows = rows[lengths[rows] > 0]
        while len(rows):
            size = max(1, BATCH_EVENTS // int(lengths[rows[-1]]))
            queries[rows[-size:]] = self._read(sequences, texts, starts[rows[-size:]], lengths[rows[-size:]])
            rows = rows[:-size]
        return queries

    def _read_one(self, sequences: Sequences, texts: np.ndarray | None) -> np.ndarray:
        """`read` of one history, which is what a request has: (1, dim)."""
        stop = int(sequences.indptr[1])
        start = max(int(sequences.indptr[0]), stop - self.network.shape.max_length)
        if start == stop:
            return np.zeros((1, self.network.shape.dim), dtype=np.float32)
        vectors = self.item_vectors[np.maximum(sequences.item_rows[start:stop], 0)]  # (l, dim)
        text_rows = sequences.text_rows[start:stop]
        if texts is not None and len(texts):
            vectors = np.where(text_rows[:, None] >= 0, texts[np.maximum(text_rows, 0)], vectors)  # (l, dim)
        query = self._reader.query(vectors, sequences.event_types[start:stop], sequences.gaps[start:stop])
        return query[None]

    @cached_property
    def _reader(self) -> Reader:
        return Reader.of(self.network)

    def _read(
        self, sequences: Sequences, texts: np.ndarray | None, starts: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """(b, dim): the query after the last entry of each stretch."""
        batch = padded(sequences, starts, lengths)
        vectors = self.item_vectors[np.maximum(batch.item_rows, 0)]  # (b, l, dim)
        if texts is not None and len(texts):
            is_text = (batch.text_rows >= 0)[:, :, None]  # (b, l, 1)
            vectors = np.where(is_text, texts[np.maximum(batch.text_rows, 0)], vectors)  # (b, l, dim)
        with torch.inference_mode():
            reads = self.network.eval()(
                self._tensor(vectors), self._tensor(batch.event_types), self._tensor(batch.gaps)
            )
            last = reads[torch.arange(len(lengths)), torch.from_numpy(lengths - 1)]  # (b, dim)
        result: np.ndarray = last.cpu().numpy()
        return result

    def scores(self, sequences: Sequences, browsing_text: np.ndarray | None = None) -> np.ndarray:
        """(n, n_items) float32 log-probability that each item comes next; a zero row for an empty history."""
        queries = self.query_vectors(sequences, browsing_text)
        scores = queries @ self.item_vectors.T / np.float32(self.network.shape.temperature)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        scores[~queries.any(axis=1)] = 0.0
        return scores

    def place(self, text: np.ndarray) -> np.ndarray:
        """(m, dim) float32: vectors of items or texts that were never seen, by the adapter alone.

        text: (m, text_dim) whitened; zero rows stay zero. Raises DataError where the model was fitted on other text.
        """
        if text.shape[1] != self.network.shape.text_dim:
            raise DataError(
                f"sequence model: {len(text)} texts have {text.shape[1]} dimensions, but it was fitted on "
                f"{self.network.shape.text_dim}; fit it again with these texts"
            )
        with torch.inference_mode():
            placed: np.ndarray = self.network.eval().texts(self._tensor(text.astype(np.float32))).cpu().numpy()
        return placed

    def renumbered(self, rows: np.ndarray) -> SequenceModel:
        """The same model over another catalogue: item i is this model's item `rows[i]`, or new where that is -1.

        A new item has no id vector and, until the next fit, a zero item vector.
        """
        known, old = rows >= 0, np.maximum(rows, 0)
        network = Network(replace(self.network.shape, n_items=len(rows)))
        weights = self.network.state_dict()
        fresh = network.ids.weight.detach()  # (n_items, dim)
        moved = weights["ids.weight"].cpu()[torch.from_numpy(old)]  # (n_items, dim)
        weights["ids.weight"] = torch.where(torch.from_numpy(known)[:, None], moved, fresh)
        network.load_state_dict(weights)
        vectors = np.where(known[:, None], self.item_vectors[old], np.float32(0.0))
        return SequenceModel(network.eval(), vectors, self.has_id[old] & known, self.epochs)

    def with_placed(self, text: np.ndarray | None) -> SequenceModel:
        """The same with items that had no vector where their text puts them; text: (n_items, text_dim) whitened."""
        if text is None or self.network.shape.text_dim == 0:
            return self
        lacking = ~self.item_vectors.any(axis=1)
        vectors = self.item_vectors.copy()
        vectors[lacking] = self.place(text[lacking])
        return replace(self, item_vectors=vectors)

    def save(self, folder: Path) -> None:
        """Writes `sequence.safetensors`; its header holds the network's shape as JSON, and the epochs."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"network.{name}": value.cpu().contiguous() for name, value in self.network.state_dict().items()}
        tensors["item_vectors"] = torch.from_numpy(np.ascontiguousarray(self.item_vectors))
        tensors["has_id"] = torch.from_numpy(np.ascontiguousarray(self.has_id))
        tensors["epochs"] = torch.tensor(self.epochs)
        # One entry: safetensors writes several in an order that changes from time to time, and with it the digest.
        save_file(tensors, folder / WEIGHTS_FILE, {"shape": self.network.shape.to_json()})

    @classmethod
    def load(cls, folder: Path) -> SequenceModel:
        """On the CPU, in evaluation mode. Raises StoreError where the file is missing or cannot be read."""
        try:
            with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
                header = file.metadata()
                # Whatever PyTorch's default type is: another thread may just be loading an encoder, which changes it.
                network, stored = Network(Shape.from_json(header["shape"])).float(), set(file.keys())
                epochs = int(file.get_tensor("epochs") if "epochs" in stored else header.get("epochs", 0))
                names = [name for name in stored if name.startswith("network.")]
                network.load_state_dict({name.removeprefix("network."): file.get_tensor(name) for name in names})
                item_vectors, has_id = file.get_tensor("item_vectors").numpy(), file.get_tensor("has_id").numpy()
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StoreError(
                f"{folder}: sequence model cannot be read ({reason}); run `recsys nightly` again"
            ) from None
        return cls(network.eval(), item_vectors, has_id, epochs)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.network.ids.weight.device)


def model_of(network: Network, text: Tensor | None, id_weights: np.ndarray, epochs: int) -> SequenceModel:
    """The network, after `epochs`, with its item vectors worked out.

    text: (n_items, text_dim); id_weights: (n_items,) float32, how much of its id an item's vector has beside its text:
    0 to 1.
    """
    device = network.ids.weight.device
    weights = torch.from_numpy(id_weights).to(device)  # (n_items,)
    blocks = []
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(id_weights), device=device), BLOCK_ITEMS):
            block = network.eval().items(rows, None if text is None else text[rows], weights[rows])  # (m, dim)
            blocks.append(block.cpu().numpy())
    empty = np.zeros((0, network.shape.dim), dtype=np.float32)
    return SequenceModel(network, np.concatenate([empty, *blocks]), id_weights > 0, epochs)
