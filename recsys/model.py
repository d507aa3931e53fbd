"""What one release has learned, as arrays on disk that every replica maps into memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import candidates
from recsys.candidates import Source
from recsys.errors import StoreError
from recsys.fusion import Fusion
from recsys.whitening import Whitening, unit_rows

CF_SHARE = 0.5
"""Part of the fused vector's squared norm that behaviour has, for an item that has behaviour."""


@dataclass(frozen=True)
class Model:
    """Row i of every array is item i of `item_ids`, which ascend.

    linear: (n_items, n_items) sparse; factors: behaviour, (n_items, dim); text: (n_items, text dim), norm 1 or zero;
    whitened: the same after `whitening`; popularity: (n_items,) distinct users; trend: (n_items,) decayed popularity.
    """

    item_ids: pl.Series
    linear: sp.csr_matrix
    factors: candidates.Factors
    text: np.ndarray
    whitened: np.ndarray
    whitening: Whitening
    popularity: np.ndarray
    trend: np.ndarray
    fusion: Fusion

    def sources(self) -> tuple[Source, ...]:
        """Every candidate source, in the order in which contributions are stacked."""
        return (
            candidates.Linear(self.linear),
            self.factors,
            candidates.HistoryText(self.whitened),
            candidates.Browsing(self.text),
            candidates.Sentence(self.text),
            candidates.SameForAll(self.trend, "trending"),
            candidates.SameForAll(np.log1p(self.popularity), "popular"),
        )

    def item_vectors(self) -> np.ndarray:
        """The fused item space: (n_items, k + dim) float32, norm 1; text alone for an item without behaviour."""
        behaviour = unit_rows(self.factors.item_factors) * np.sqrt(CF_SHARE)
        return unit_rows(np.hstack([self.whitened * np.sqrt(1.0 - CF_SHARE), behaviour]))

    def save(self, folder: Path) -> None:
        """Writes the arrays as .npy and the rest as Parquet and JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        self.item_ids.to_frame("item_id").write_parquet(folder / "item_ids.parquet")
        for name, array in self._arrays().items():
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        self.fusion.save(folder / "fusion.json")
        fold_in = {
            "regularization": self.factors.regularization,
            "alpha": self.factors.alpha,
            "fold_in": self.factors.fold_in,
        }
        (folder / "factors.json").write_text(json.dumps(fold_in, indent=2))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "linear_data": self.linear.data,
            "linear_indices": self.linear.indices,
            "linear_indptr": self.linear.indptr,
            "item_factors": self.factors.item_factors,
            "text": self.text,
            "whitened": self.whitened,
            "whitening_mean": self.whitening.mean,
            "whitening_projection": self.whitening.projection,
            "popularity": self.popularity,
            "trend": self.trend,
        }

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Maps the arrays into memory. Raises StoreError where a file is missing or cannot be read."""
        try:
            item_ids = pl.read_parquet(folder / "item_ids.parquet")["item_id"]
            fold_in = json.loads((folder / "factors.json").read_text())
            fusion = Fusion.load(folder / "fusion.json")

            def array(name: str) -> np.ndarray:
                mapped = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                return mapped.view(np.ndarray)  # results of np.memmap are slow to make, and never maps

            n_items = len(item_ids)
            linear = sp.csr_matrix(
                (array("linear_data"), array("linear_indices"), array("linear_indptr")), (n_items, n_items)
            )
            factors = candidates.Factors(array("item_factors"), **fold_in)
            whitening = Whitening(array("whitening_mean"), array("whitening_projection"))
            return cls(
                item_ids,
                linear,
                factors,
                array("text"),
                array("whitened"),
                whitening,
                array("popularity"),
                array("trend"),
                fusion,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{folder}: model cannot be read ({error}); run `recsys nightly` again") from None
