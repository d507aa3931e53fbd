"""Draw the brands and the models they make: style, material, features, price, quality, popularity, arrival."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from recsys.simulate.clock import DAY, micros
from recsys.simulate.tastes import BRAND_DIM, CHARACTER_DIM, Floats, Ints, TermSpace
from recsys.simulate.vocabulary import Leaf, Vocabulary

N_TERMS: Final = 6  # style, material, colour and up to three features
STYLE, MATERIAL, COLOUR = 0, 1, 2
MAX_ASPECTS: Final = 4

_LOOK_ALIKE_SHARE: Final = 0.06
_NEW_SHARE: Final = 0.05  # arrived in the last week; a third of them in the last two days
_RECENT_SHARE: Final = 0.15  # arrived inside the simulated days, before the last week


@dataclass(frozen=True)
class Brands:
    """Invented makers: where they sell, what style they lean to, how dear they are."""

    names: tuple[str, ...]
    of_department: dict[str, Ints]
    style: Ints  # position in the vocabulary's styles
    tier: Floats
    vectors: Floats  # (n_brands, BRAND_DIM)


@dataclass(frozen=True)
class Models:
    """What the variants of one model share; arrays are (n_models,) unless said otherwise."""

    leaf: Ints
    brand: Ints
    name: Ints  # position in the vocabulary's model names
    terms: Ints  # (n_models, N_TERMS), -1 = none
    material: Ints  # position in the leaf's materials
    features: Ints  # (n_models, 3) positions in the leaf's features, -1 = none
    log_price: Floats
    quality: Floats  # (n_models, MAX_ASPECTS)
    character: Floats  # (n_models, CHARACTER_DIM)
    log_popularity: Floats
    arrived: Ints  # µs


def draw_brands(vocabulary: Vocabulary, leaves: tuple[Leaf, ...], n_products: int, rng: np.random.Generator) -> Brands:
    """Draw the makers; each sells in one to three departments and every department has at least three."""
    heads, tails, suffixes = (vocabulary.names[key] for key in ("heads", "tails", "suffixes"))
    n_possible = len(heads) * len(tails)
    n_brands = int(np.clip(n_products // 15, 24, n_possible))
    picks = rng.permutation(n_possible)[:n_brands]
    endings = rng.integers(len(suffixes), size=n_brands)
    names = [
        heads[pick // len(tails)] + tails[pick % len(tails)] + suffixes[ending]
        for pick, ending in zip(picks, endings, strict=True)
    ]
    departments = list(dict.fromkeys(leaf.department for leaf in leaves))
    sells = rng.random((n_brands, len(departments))) < 0.12
    sells[np.arange(n_brands), np.arange(n_brands) % len(departments)] = True
    sells[:3] = True
    return Brands(
        names=tuple(names),
        of_department={name: np.flatnonzero(sells[:, column]) for column, name in enumerate(departments)},
        style=rng.integers(len(vocabulary.styles), size=n_brands),
        tier=(0.6 * rng.standard_normal(n_brands)).astype(np.float32),
        vectors=rng.standard_normal((n_brands, BRAND_DIM)).astype(np.float32),
    )


def draw_models(
    vocabulary: Vocabulary,
    leaves: tuple[Leaf, ...],
    brands: Brands,
    space: TermSpace,
    n_models: int,
    span: tuple[datetime, datetime],
    rng: np.random.Generator,
) -> Models:
    """Draw the models. A few are look-alikes: another brand's copy of a model of the same leaf."""
    shelf = rng.gamma(4.0, size=len(leaves))  # some leaves are larger than others
    leaf = rng.choice(len(leaves), size=n_models, p=shelf / shelf.sum()).astype(np.int64)
    leaf[: len(leaves)] = np.arange(len(leaves))[:n_models]
    brand = np.zeros(n_models, dtype=np.int64)
    for row, entry in enumerate(leaves):
        makers = brands.of_department[entry.department]
        share = 1.0 / np.arange(1, len(makers) + 1) ** 0.7
        mine = np.flatnonzero(leaf == row)
        brand[mine] = rng.choice(np.roll(makers, row), size=len(mine), p=share / share.sum())
    style = _styles(vocabulary, leaves, leaf, brands.style[brand], rng)
    material = (rng.random(n_models) * np.array([len(leaves[i].materials) for i in leaf])).astype(np.int64)
    features = _features(leaves, leaf, rng)
    copy_of = _look_alikes(leaf, rng)
    for values in (style, material, features):
        values[copy_of >= 0] = values[copy_of[copy_of >= 0]]
    median = np.log([leaves[i].median_price for i in leaf])
    spread = np.array([leaves[i].price_spread for i in leaf])
    luxury = list(vocabulary.styles).index("luxurious")
    dearness = 0.75 * rng.standard_normal(n_models) + brands.tier[brand] + 0.5 * (style == luxury)
    quality = 0.6 * rng.standard_normal((n_models, 1)) + 0.75 * rng.standard_normal((n_models, MAX_ASPECTS))
    return Models(
        leaf=leaf,
        brand=brand,
        name=rng.integers(len(vocabulary.names["models"]), size=n_models),
        terms=_term_rows(vocabulary, leaves, space, leaf, style, material, features),
        material=material,
        features=features,
        log_price=(median + spread * dearness).astype(np.float32),
        quality=(quality + 0.15 * dearness[:, None]).astype(np.float32),
        character=rng.standard_normal((n_models, CHARACTER_DIM)).astype(np.float32),
        log_popularity=(1.5 * rng.standard_normal(n_models) - 0.8 * (copy_of >= 0)).astype(np.float32),
        arrived=_arrivals(n_models, span, rng),
    )


def _term_rows(
    vocabulary: Vocabulary,
    leaves: tuple[Leaf, ...],
    space: TermSpace,
    leaf: Ints,
    style: Ints,
    material: Ints,
    features: Ints,
) -> Ints:
    styles = list(vocabulary.styles)
    terms = np.full((len(leaf), N_TERMS), -1, dtype=np.int64)
    terms[:, STYLE] = np.array([space.rows["style", word] for word in styles])[style]
    for row, entry in enumerate(leaves):
        mine = leaf == row
        materials = np.array([space.rows["material", word] for word in entry.materials])
        terms[mine, MATERIAL] = materials[material[mine]]
        words = np.array([*(space.rows["feature", word] for word in entry.features), -1])
        terms[mine, COLOUR + 1 :] = words[features[mine]]
    return terms


def _styles(
    vocabulary: Vocabulary, leaves: tuple[Leaf, ...], leaf: Ints, brand_style: Ints, rng: np.random.Generator
) -> Ints:
    """Half of the models follow their brand's style where the leaf knows it; the others take any the leaf knows."""
    names = list(vocabulary.styles)
    style = brand_style.copy()
    follows = rng.random(len(leaf)) < 0.5
    chance = rng.random(len(leaf))
    for row, entry in enumerate(leaves):
        known = np.array([names.index(name) for name in entry.styles])
        mine = (leaf == row) & ~(follows & np.isin(brand_style, known))
        style[mine] = known[(chance[mine] * len(known)).astype(np.int64)]
    return style


def _features(leaves: tuple[Leaf, ...], leaf: Ints, rng: np.random.Generator) -> Ints:
    """(n_models, 3) two or three features of each model's leaf that do not contradict each other; -1 = none."""
    n_features = max(len(entry.features) for entry in leaves)
    order = rng.random((len(leaf), n_features))
    for row, entry in enumerate(leaves):
        mine = np.flatnonzero(leaf == row)
        order[np.ix_(mine, np.arange(len(entry.features), n_features))] = np.inf
        for group in entry.either:
            members = np.array(group)
            among = order[np.ix_(mine, members)]
            order[np.ix_(mine, members)] = np.where(among == among.min(axis=1, keepdims=True), among, np.inf)
    best = np.argsort(order, axis=1)[:, :3]
    left_out = np.isinf(np.take_along_axis(order, best, axis=1))
    left_out[:, 2] |= rng.random(len(leaf)) >= 0.35
    return np.where(left_out, -1, best)


def _look_alikes(leaf: Ints, rng: np.random.Generator) -> Ints:
    """For each model the earlier model of its leaf that it copies, or -1; a copy is never copied."""
    copies = rng.random(len(leaf)) < _LOOK_ALIKE_SHARE
    copy_of = np.full(len(leaf), -1, dtype=np.int64)
    for row in np.unique(leaf):
        mine = np.flatnonzero(leaf == row)
        originals, followers = mine[~copies[mine]], mine[copies[mine]]
        if len(originals):
            copy_of[followers] = rng.choice(originals, size=len(followers))
    return copy_of


def _arrivals(n: int, span: tuple[datetime, datetime], rng: np.random.Generator) -> Ints:
    start, end = micros(span[0]), micros(span[1])
    before = start - (rng.uniform(1, 500, n) * DAY).astype(np.int64)
    recent = start + (rng.random(n) * max(end - 7 * DAY - start, 0)).astype(np.int64)
    age_days = np.where(rng.random(n) < 1 / 3, rng.uniform(0.05, 2, n), rng.uniform(2, 7, n))
    kind = rng.random(n)
    new = np.maximum(end - (age_days * DAY).astype(np.int64), start)
    late = np.where(kind < _NEW_SHARE, new, recent)
    return np.where(kind < _NEW_SHARE + _RECENT_SHARE, late, before)
