"""What one release has learned, as arrays on disk that every replica maps into memory."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import TypeAdapter

from recsys import candidates
from recsys.candidates import Source
from recsys.errors import StoreError
from recsys.fusion import QUERY_TEXT, Fusion
from recsys.ranking import Ranker
from recsys.repeats import Repeats
from recsys.sequence.model import SequenceModel
from recsys.whitening import Whitening

RANKER_FILE: Final = "ranker.txt"
FOLD_IN_FILE: Final = "factors.json"


@dataclass(frozen=True)
class FoldIn:
    """How a shopper's factors follow from the history: what `recsys.candidates.Factors` has beside its array."""

    regularization: float
    alpha: float
    fold_in: Literal["als", "mean"] = "als"


_FOLD_IN: Final = TypeAdapter(FoldIn)


@dataclass(frozen=True)
class Model:
    """Row i of every array is item i of `item_ids`, which ascend.

    sequence: its item vectors are the fused item space; linear: (n_items, n_items) sparse; factors: behaviour,
    (n_items, dim); text: (n_items, text dim), norm 1 or zero; whitened: the same after `whitening`; popularity:
    (n_items,) distinct users; trend: (n_items,) decayed popularity; repeat_rates: (n_items,), see `recsys.repeats`;
    promise: (n_items,), see `recsys.new_items`; item_features: see `recsys.rank_features`; ranker: None where the
    weighted sum ranks alone.
    """

    item_ids: pl.Series
    sequence: SequenceModel
    linear: sp.csr_matrix
    factors: candidates.Factors
    text: np.ndarray
    whitened: np.ndarray
    whitening: Whitening
    popularity: np.ndarray
    trend: np.ndarray
    repeats: Repeats
    repeat_rates: np.ndarray
    promise: np.ndarray
    item_features: np.ndarray
    fusion: Fusion
    ranker: Ranker | None

    def sources(self) -> tuple[Source, ...]:
        """Every candidate source, in the order in which contributions are stacked."""
        buy_again = (candidates.BuyAgain(self.repeat_rates),) if self.repeats.allowed else ()
        return (
            candidates.VectorSource(self.sequence.item_vectors, attrgetter("query_vectors"), "sequence"),
            candidates.Linear(self.linear),
            self.factors,
            candidates.HistoryText(self.whitened),
            candidates.VectorSource(self.text, attrgetter("browsing"), "browsing"),
            candidates.VectorSource(self.text, attrgetter("query_text"), QUERY_TEXT),
            *buy_again,
            candidates.NonPersonal(self.trend, "trending"),
            candidates.NonPersonal(np.log1p(self.popularity), "popular"),
        )

    def save(self, folder: Path) -> None:
        """Writes the arrays as .npy, the sequence model as safetensors, and the rest as Parquet and JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        self.item_ids.to_frame("item_id").write_parquet(folder / "item_ids.parquet")
        for name, array in self._arrays().items():
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        self.sequence.save(folder)
        self.fusion.save(folder / "fusion.json")
        self.repeats.save(folder / "repeats.json")
        if self.ranker is not None:
            self.ranker.save(folder / RANKER_FILE)
        fold_in = FoldIn(self.factors.regularization, self.factors.alpha, self.factors.fold_in)
        (folder / FOLD_IN_FILE).write_bytes(_FOLD_IN.dump_json(fold_in, indent=2))

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
            "repeat_rates": self.repeat_rates,
            "promise": self.promise,
            "item_features": self.item_features,
        }

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Maps the arrays into memory. Raises StoreError where a file is missing or cannot be read."""
        try:
            item_ids = pl.read_parquet(folder / "item_ids.parquet")["item_id"]
            fold_in = _FOLD_IN.validate_json((folder / FOLD_IN_FILE).read_bytes())
            fusion = Fusion.load(folder / "fusion.json")
            repeats = Repeats.load(folder / "repeats.json")

            def array(name: str) -> np.ndarray:
                mapped = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                return mapped.view(np.ndarray)  # results of np.memmap are slow to make, and never maps

            n_items = len(item_ids)
            linear = sp.csr_matrix(
                (array("linear_data"), array("linear_indices"), array("linear_indptr")), (n_items, n_items)
            )
            factors = candidates.Factors(array("item_factors"), fold_in.regularization, fold_in.alpha, fold_in.fold_in)
            whitening = Whitening(array("whitening_mean"), array("whitening_projection"))
            return cls(
                item_ids=item_ids,
                sequence=SequenceModel.load(folder),
                linear=linear,
                factors=factors,
                text=array("text"),
                whitened=array("whitened"),
                whitening=whitening,
                popularity=array("popularity"),
                trend=array("trend"),
                repeats=repeats,
                repeat_rates=array("repeat_rates"),
                promise=array("promise"),
                item_features=array("item_features"),
                fusion=fusion,
                ranker=Ranker.load(folder / RANKER_FILE) if (folder / RANKER_FILE).exists() else None,
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise StoreError(f"{folder}: model cannot be read ({error}); run `recsys nightly` again") from None
