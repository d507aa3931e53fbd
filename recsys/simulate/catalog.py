"""Draw the products: the variants of every model, with their sizes, colours, prices and fashions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.simulate.clock import DAY, NEVER, micros
from recsys.simulate.models import COLOUR, Brands, Models, draw_models
from recsys.simulate.tastes import Floats, Ints, TermSpace
from recsys.simulate.vocabulary import Leaf, Vocabulary

_TERM_WEIGHTS: Final = np.array([1.0, 0.7, 0.45, 0.6, 0.6, 0.6], dtype=np.float32)
_VARIANT_SHARES: Final = (0.5, 0.28, 0.16, 0.06)  # of models with 1, 2, 3, 4 variants
_SOLD_OUT_SHARE: Final = 0.04


@dataclass(frozen=True)
class Products:
    """Everything about the products but their words; arrays are (n_items,) unless said otherwise."""

    start: int  # µs, first moment of the simulated days
    item_ids: tuple[str, ...]
    model: Ints
    models: Models
    leaf: Ints
    terms: Ints  # (n_items, N_TERMS), -1 = none
    size: Ints  # position in the leaf's sizes, -1 = none
    price: npt.NDArray[np.float64]
    arrived: Ints  # µs
    sold_out: Ints  # µs; NEVER while available
    log_popularity: Floats
    trend: Floats  # (n_items, 3): height, middle (days from the start), width (days)
    aspect_quality: Floats  # (n_items, MAX_ASPECTS)
    vectors: Floats  # (n_items, n_axes)

    @property
    def n(self) -> int:
        """How many products there are."""
        return len(self.item_ids)


def draw_products(
    vocabulary: Vocabulary,
    leaves: tuple[Leaf, ...],
    brands: Brands,
    space: TermSpace,
    n_products: int,
    span: tuple[datetime, datetime],
    rng: np.random.Generator,
) -> Products:
    """Draw `n_products` products. `span` is the first and the last moment of the simulated days (UTC)."""
    models = draw_models(vocabulary, leaves, brands, space, n_products, span, rng)
    n_variants = 1 + rng.choice(len(_VARIANT_SHARES), size=n_products, p=_VARIANT_SHARES)
    can_vary = np.array([bool(entry.sizes) or entry.palette != "none" for entry in leaves])
    n_variants = np.where(can_vary[models.leaf], n_variants, 1)
    model = np.repeat(np.arange(n_products), n_variants)[:n_products]
    variant = np.arange(n_products) - np.searchsorted(model, model)
    leaf = models.leaf[model]
    size, colour = _variants(vocabulary, leaves, models.leaf, model, variant, space, rng)
    terms = models.terms[model].copy()
    terms[:, COLOUR] = colour
    log_price = models.log_price[model] + 0.2 * np.maximum(size, 0)
    price = _shop_price(np.exp(log_price.astype(np.float64)))
    median = np.log([leaves[i].median_price for i in leaf])
    spread = np.array([leaves[i].price_spread for i in leaf])
    dear = np.clip((np.log(price) - median) / spread, -3, 3)[:, None]
    quality = models.quality[model]
    days = (span[1] - span[0]) / timedelta(days=1)
    trend = _trends(n_products, days, rng)
    sold_out = _sold_out(n_products, micros(span[1]), days, rng)
    taste = np.where(terms[:, :, None] >= 0, space.vectors[terms], 0.0) * _TERM_WEIGHTS[:, None]
    vectors = [taste.sum(axis=1), models.character[model], brands.vectors[models.brand[model]]]
    return Products(
        start=micros(span[0]),
        item_ids=_item_ids(leaves, leaf),
        model=model,
        models=models,
        leaf=leaf,
        terms=terms,
        size=size,
        price=price,
        arrived=models.arrived[model],
        sold_out=sold_out,
        log_popularity=(models.log_popularity[model] - 0.4 * variant).astype(np.float32),
        trend=trend,
        aspect_quality=quality,
        vectors=np.hstack([*vectors, dear**2, dear, quality.mean(axis=1, keepdims=True)]).astype(np.float32),
    )


def _trends(n_products: int, days: float, rng: np.random.Generator) -> Floats:
    """(n_products, 3) float32: see `Products.trend`; most products have no trend, that is one of height 0."""
    columns = [
        np.where(rng.random(n_products) < 0.12, rng.uniform(0.8, 2.2, n_products), 0.0),
        rng.uniform(-5, days + 5, n_products),
        rng.uniform(4, 10, n_products),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _sold_out(n_products: int, end: int, days: float, rng: np.random.Generator) -> Ints:
    """(n_products,) µs: a few products sell out in the last two weeks before `end`, the others `NEVER`."""
    sold_out = end - (rng.random(n_products) * min(14.0, days) * DAY).astype(np.int64)
    return np.where(rng.random(n_products) < _SOLD_OUT_SHARE, sold_out, NEVER)


def _variants(
    vocabulary: Vocabulary,
    leaves: tuple[Leaf, ...],
    leaf_of_model: Ints,
    model: Ints,
    variant: Ints,
    space: TermSpace,
    rng: np.random.Generator,
) -> tuple[Ints, Ints]:
    """Size position and colour term of each product: variants of a model differ in one of the two."""
    chance = rng.random((len(leaf_of_model), 3))[model]
    size = np.full(len(model), -1, dtype=np.int64)
    colour = np.full(len(model), -1, dtype=np.int64)
    for row, entry in enumerate(leaves):
        mine = np.flatnonzero(leaf_of_model[model] == row)
        step = variant[mine]
        words = [space.rows["colour", word] for word in vocabulary.palettes[entry.palette]]
        by_size = (chance[mine, 0] < 0.45) | (not words) if entry.sizes else np.zeros(len(mine), dtype=bool)
        if entry.sizes:
            first = (chance[mine, 1] * len(entry.sizes)).astype(np.int64)
            size[mine] = (first + np.where(by_size, step, 0)) % len(entry.sizes)
        if words:
            first = (chance[mine, 2] * len(words)).astype(np.int64)
            colour[mine] = np.array(words)[(first + np.where(by_size, 0, 5 * step)) % len(words)]
    return size, colour


def _shop_price(price: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rounded as shops do: 7.49, 34.90, 189, 1,290."""
    cheap = np.floor(price) + np.where(price % 1 < 0.5, 0.49, 0.99)
    middle = np.floor(price) + 0.9
    dear = np.round(price / 10) * 10 - 1
    very_dear = np.round(price / 50) * 50 - 10
    rounded = np.select([price < 20, price < 100, price < 600], [cheap, middle, dear], very_dear)
    return np.round(rounded, 2)


def _item_ids(leaves: tuple[Leaf, ...], leaf: Ints) -> tuple[str, ...]:
    numbers = np.zeros(len(leaf), dtype=np.int64)
    for row in range(len(leaves)):
        mine = leaf == row
        numbers[mine] = np.arange(1, mine.sum() + 1)
    return tuple(f"{leaves[row].code}-{number:04d}" for row, number in zip(leaf, numbers, strict=True))
