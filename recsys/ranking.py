"""The ranker: LightGBM LambdaMART over the union of what the sources propose.

(Burges 2010, "From RankNet to LambdaRank to LambdaMART: an overview".) The weighted sum of `recsys.fusion` scores every
item and says why; the ranker reorders the best of them by their scores, their age and their sales. It
is trained on choices made after everything that its sources have seen, and is used only where it beats the weighted
sum.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from recsys import config
from recsys.errors import StoreError
from recsys.metrics import ndcg
from recsys.source_names import current_feature

if TYPE_CHECKING:
    import lightgbm as lgb

log = logging.getLogger(__name__)

CUT_RANK: Final = 500
"""A place in a source's list beyond this one counts as this one."""

FITTED_AT: Final = 10


@dataclass(frozen=True)
class Proposals:
    """What the sources propose to one shopper.

    item_rows: (n,) ascending; features: (n, n_features) float32, in the order of `feature_names`.
    """

    item_rows: np.ndarray
    features: np.ndarray


def feature_names(sources: Sequence[str], item_features: Sequence[str]) -> list[str]:
    """For each source its z-score and the log of its place, then what is known of the item alone."""
    return [f"{source}_{kind}" for source in sources for kind in ("score", "place")] + list(item_features)


def propose(scores: np.ndarray, hidden_rows: np.ndarray, item_features: np.ndarray, pool: int) -> Proposals:
    """The union of each source's best `pool` items that may be shown, with their features.

    scores: (n_sources, n_items) z-scores; item_features: (n_items, k).
    """
    n_sources, n_items = scores.shape
    masked = scores.copy()
    masked[:, hidden_rows] = -np.inf
    size, deep = min(pool, n_items), min(CUT_RANK, n_items)
    speaks = scores.any(axis=1)
    item_rows = np.unique(np.argpartition(-masked[speaks], size - 1, axis=1)[:, :size])
    item_rows = item_rows[masked[0, item_rows] > -np.inf]
    places = np.full((n_sources, len(item_rows)), np.log1p(CUT_RANK), dtype=np.float32)
    for source in np.flatnonzero(speaks):
        ordered = np.sort(np.partition(-masked[source], deep - 1)[:deep])
        places[source] = np.log1p(np.searchsorted(ordered, -masked[source, item_rows]))
    source_features = np.stack([scores[:, item_rows], places], axis=1).reshape(2 * n_sources, -1)
    return Proposals(
        item_rows, np.concatenate([source_features.T, item_features[item_rows]], axis=1).astype(np.float32)
    )


@dataclass(frozen=True)
class Ranker:
    """Trees as LightGBM's own text, which holds no code; `names` are the features they read, as they are called now."""

    text: str
    names: tuple[str, ...]

    @cached_property
    def _booster(self) -> lgb.Booster:
        return _lightgbm().Booster(model_str=self.text)

    def reads(self, source: str) -> bool:
        """Whether any tree uses the source's features; false where the source had no evidence in the training data."""
        splits = dict(zip(self.names, self._booster.feature_importance(), strict=True))
        return any(splits[name] > 0 for name in feature_names([source], ()))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(n,) float32, larger is better."""
        if len(features) == 0:
            return np.zeros(0, dtype=np.float32)
        raw = self._booster.predict(features, num_threads=1)
        return np.asarray(raw, dtype=np.float32)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """(n, n_features + 1) float64: what each feature adds to each score, last what all items have; a row's sum is
        its score. SHAP values of the trees (Lundberg et al. 2020), as LightGBM computes them."""
        if len(features) == 0:
            return np.zeros((0, len(self.names) + 1))
        return np.asarray(self._booster.predict(features, pred_contrib=True, num_threads=1), dtype=np.float64)

    def save(self, path: Path) -> None:
        """The SHA-256 of the text in a line of its own, then the text."""
        path.write_text(f"{_digest(self.text)}\n{self.text}")

    @classmethod
    def load(cls, path: Path) -> Ranker:
        """Raises StoreError where the file cannot be read."""
        try:
            digest, _, text = path.read_text().partition("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{path}: ranker cannot be read ({error}); run `recsys nightly` again") from None
        if digest != _digest(text):  # LightGBM ends the process over some damaged texts
            raise StoreError(f"{path}: ranker cannot be read (altered or incomplete); run `recsys nightly` again")
        names = _lightgbm().Booster(model_str=text).feature_name()
        return cls(text, tuple(current_feature(name) for name in names))


def _lightgbm() -> Any:
    """The library, which takes a second to import: what ranks nothing does not wait for it."""
    import lightgbm

    return lightgbm


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fit_ranker(
    proposals: list[Proposals], target_rows: np.ndarray, names: list[str], settings: config.RankingSettings, seed: int
) -> Ranker:
    """Trees that put each shopper's target first. target_rows: (n,) item rows, one a shopper.

    A shopper to whom no source proposed the target is left out: there is nothing to learn from them.
    """
    labels = [proposal.item_rows == target for proposal, target in zip(proposals, target_rows, strict=True)]
    taught = [place for place, label in enumerate(labels) if label.any()]
    data = _lightgbm().Dataset(
        np.concatenate([proposals[place].features for place in taught]),
        np.concatenate([labels[place] for place in taught]).astype(np.int32),
        group=[len(labels[place]) for place in taught],
        feature_name=names,
        params={"verbose": -1},
    )
    parameters: dict[str, Any] = {
        "objective": "lambdarank",
        "lambdarank_truncation_level": 30,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_leaf,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    booster = _lightgbm().train(parameters, data, num_boost_round=settings.trees)
    return Ranker(booster.model_to_string(), tuple(names))


def ranked_ndcg(scores: list[np.ndarray], proposals: list[Proposals], target_rows: np.ndarray) -> np.ndarray:
    """(n,) NDCG@10 of each shopper's target among the proposals; 0 where it is not among them. Ties count against
    it."""
    ranks = np.full(len(target_rows), FITTED_AT)
    for row, (item_scores, proposal, target) in enumerate(zip(scores, proposals, target_rows, strict=True)):
        place = np.flatnonzero(proposal.item_rows == target)
        if len(place):
            ranks[row] = (item_scores >= item_scores[place[0]]).sum() - 1
    return ndcg(ranks, FITTED_AT)
