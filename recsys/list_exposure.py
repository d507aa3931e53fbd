"""What the lists of a release show, and whether they keep their shoppers' mix of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from recsys.batch_scoring import shown_rows
from recsys.embedding_health import sampled_rows
from recsys.errors import DataError
from recsys.fairness import category_mix, exposure_by_group, fairness_figures, miscalibration
from recsys.item_groups import fewer, item_groups
from recsys.query import Query
from recsys.recommend import Recommender

COUNT: Final = 10
MAX_LISTS: Final = 2_000
HISTORY: Final = 50


@dataclass(frozen=True)
class ListExposure:
    """The lists of some shoppers. user_ids: (n,); shown_rows: (n, COUNT) items, -1 where a list is shorter."""

    recommender: Recommender
    user_ids: Sequence[str]
    shown_rows: np.ndarray

    def exposure_by(self, group: str, most: int = 15) -> pl.DataFrame:
        """group, n_items, catalogue, demand, exposure, ratio, the most exposed first, see `exposure_by_group`; groups
        as in `item_groups`, the smaller ones beyond `most` as one."""
        groups = fewer(item_groups(self.recommender, group), most)
        return exposure_by_group(self.shown_rows, groups, self.recommender.model.popularity)

    @cached_property
    def calibration(self) -> pl.DataFrame:
        """user_id, miscalibration: how far the categories of each list are from those of its shopper's history, see
        `recsys.fairness.miscalibration`; null where either has none."""
        names = item_groups(self.recommender, "category")
        known = sorted({name for name in names if name is not None})
        at = {name: code for code, name in enumerate(known)}
        codes = np.array([-1 if name is None else at[name] for name in names])
        rows = np.full((len(self.user_ids), HISTORY), -1)
        weights = np.zeros(rows.shape)
        for place, user_id in enumerate(self.user_ids):
            history = self.recommender.users.history(user_id)
            liked = history.take((history.item_rows >= 0) & (history.weights > 0)).take(slice(-HISTORY, None))
            rows[place, : len(liked)] = liked.item_rows
            weights[place, : len(liked)] = liked.weights
        preferred = category_mix(rows, weights, codes, len(known))
        given = category_mix(self.shown_rows, np.ones(self.shown_rows.shape), codes, len(known))
        diverged = pl.Series(miscalibration(preferred, given)).fill_nan(None)
        return pl.DataFrame({"user_id": self.user_ids, "miscalibration": diverged})

    def figures(self, group_quality: Sequence[float] = ()) -> dict[str, float]:
        """What `[fairness]` of the settings bounds, see `recsys.fairness.fairness_figures`."""
        diverged = self.calibration["miscalibration"].fill_null(np.nan).to_numpy()
        return fairness_figures(self.shown_rows, self.recommender.model.popularity, diverged, group_quality)


def reach(recommender: Recommender, as_of: datetime, seed: int = 0) -> ListExposure:
    """The lists of at most `MAX_LISTS` shoppers, drawn with the seed. Raises DataError where there is no shopper."""
    known = sorted(recommender.users.rows)
    if not known:
        raise DataError("the release knows no shopper whose list could be looked at; ingest events first")
    user_ids = [known[row] for row in sampled_rows(np.arange(len(known)), seed, MAX_LISTS)]
    queries = [Query(user_id=user_id, count=COUNT, asked_at=as_of) for user_id in user_ids]
    return ListExposure(recommender, user_ids, shown_rows(recommender, queries, COUNT))
