"""Write a whole sample storefront to Parquet: the products first, then the shoppers, cohort by cohort."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.errors import ConfigError
from recsys.simulate.journeys import draw_journeys
from recsys.simulate.logbook import user_id, write_events, write_reviews
from recsys.simulate.reviews import draw_outcomes
from recsys.simulate.shop import Shop, open_shop
from recsys.simulate.tastes import Shoppers, draw_shoppers
from recsys.simulate.truth import save_items, save_shoppers
from recsys.simulate.visits import draw_legs

log = logging.getLogger(__name__)

END: Final = datetime(2025, 6, 1, tzinfo=UTC)
_COHORT: Final = 250  # shoppers drawn together: memory is bounded by this, not by the size of the shop
_COHORTS_PER_FILE: Final = 4

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SampleFiles:
    """Where the storefront lies; the tables have the columns of `recsys.tables`."""

    events: tuple[Path, ...]
    catalog: Path
    reviews: tuple[Path, ...]
    truth: Path


def simulate(
    folder: Path,
    *,
    n_products: int = 2000,
    n_shoppers: int = 3000,
    days: int = 60,
    seed: int = 0,
    end: datetime = END,
    progress: Progress | None = None,
) -> SampleFiles:
    """Write catalogue, events, reviews and the true tastes of `days` days up to `end` (aware, UTC midnight).

    The same arguments give the same bytes. Shoppers are drawn in cohorts, each with its own random stream: a larger
    shop keeps the whole cohorts of a smaller one. `progress` is called with a stage, how many are done, and of how
    many. An older storefront in `folder` is replaced. Raises ConfigError for a size below one.
    """
    for name, value in (("products", n_products), ("shoppers", n_shoppers), ("days", days)):
        if value < 1:
            raise ConfigError(f"sample storefront: {name} = {value}; give at least 1")
    if end.tzinfo is None or end.timestamp() % 86_400:
        raise ConfigError(f"sample storefront: end = {end.isoformat()}; give a midnight in UTC")
    report = progress or _say_nothing
    for kind in ("events", "reviews", "truth"):
        _clear(folder / kind)
    report("products", 0, n_products)
    shop = open_shop(n_products, (end - timedelta(days=days), end), np.random.default_rng([seed, 0]))
    shop.catalog.write_parquet(folder / "catalog.parquet")
    save_items(folder / "truth", shop.products, shop.end)
    report("products", n_products, n_products)
    per_file = _COHORT * _COHORTS_PER_FILE

    def watch(done: int) -> None:
        report("shoppers", done, n_shoppers)

    files = [
        _write_file(folder, shop, number, range(first, min(first + per_file, n_shoppers)), seed, watch)
        for number, first in enumerate(range(0, n_shoppers, per_file))
    ]
    log.info("storefront_simulated folder=%s products=%d shoppers=%d days=%d", folder, n_products, n_shoppers, days)
    return SampleFiles(
        events=tuple(events for events, _ in files),
        catalog=folder / "catalog.parquet",
        reviews=tuple(reviews for _, reviews in files),
        truth=folder / "truth",
    )


def _write_file(
    folder: Path, shop: Shop, number: int, rows: range, seed: int, watch: Callable[[int], None]
) -> tuple[Path, Path]:
    """Draw and write the shoppers `rows`: one file of events, one of reviews, one of true tastes."""
    cohorts: list[Shoppers] = []
    events: list[pl.DataFrame] = []
    reviews: list[pl.DataFrame] = []
    for cohort, their_events, their_reviews in _draw_cohorts(shop, rows, seed):
        cohorts.append(cohort)
        events.append(their_events)
        reviews.append(their_reviews)
        watch(int(cohort.rows[-1]) + 1)
    name = f"{number:05d}"
    events_file = folder / "events" / f"events-{name}.parquet"
    reviews_file = folder / "reviews" / f"reviews-{name}.parquet"
    pl.concat(events).sort("timestamp", "event_id").write_parquet(events_file)
    pl.concat(reviews).write_parquet(reviews_file)
    save_shoppers(folder / "truth" / f"shoppers-{name}.npz", [user_id(row) for row in rows], cohorts)
    return events_file, reviews_file


def _draw_cohorts(shop: Shop, rows: range, seed: int) -> Iterator[tuple[Shoppers, pl.DataFrame, pl.DataFrame]]:
    """Each cohort among `rows` with its events and reviews."""
    for first in range(rows.start, rows.stop, _COHORT):
        rng = np.random.default_rng([seed, 1, first // _COHORT])
        members = np.arange(first, min(first + _COHORT, rows.stop))
        shoppers = draw_shoppers(members, shop.archetypes, rng)
        legs = draw_legs(shop, shoppers, rng)
        journeys = draw_journeys(shop, shoppers, legs, rng)
        outcomes = draw_outcomes(shop, shoppers, journeys.purchases, rng)
        events = write_events(shop, shoppers, journeys, outcomes, rng)
        reviews = write_reviews(shop, shoppers, journeys, outcomes, rng)
        yield shoppers, events, reviews


def _say_nothing(stage: str, done: int, total: int) -> None:
    """Progress where nobody watches."""


def _clear(folder: Path) -> None:
    """Make the folder and remove what an earlier storefront left in it, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("events-*.parquet", "reviews-*.parquet", "shoppers-*.npz", "items.npz"):
        for old in folder.glob(pattern):
            old.unlink()
