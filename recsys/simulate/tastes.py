"""The space in which shoppers and products meet: every attribute word has a place, a taste is a direction.

What a shopper wants is drawn over the very words that titles and descriptions use, so a text encoder can find it;
a smaller part (line character, brand) is not in the text and only behaviour shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.simulate.vocabulary import Leaf, Vocabulary

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

TASTE_DIM: Final = 24
CHARACTER_DIM: Final = 6
BRAND_DIM: Final = 6

_N_ARCHETYPES: Final = 16
_TASTE_WEIGHT: Final = 1.1
_CHARACTER_WEIGHT: Final = 0.3
_BRAND_WEIGHT: Final = 0.25
_QUALITY_WEIGHT: Final = 0.35
_BUYER_SHARE: Final = 0.86
_PASSER_BY_SHARE: Final = 0.15


@dataclass(frozen=True)
class TermSpace:
    """All attribute words with their vectors; `rows` finds a word by (kind, word)."""

    kinds: tuple[str, ...]
    words: tuple[str, ...]
    rows: dict[tuple[str, str], int]
    vectors: Floats  # (n_terms, TASTE_DIM), norm 1


@dataclass(frozen=True)
class Archetypes:
    """Kinds of people: the part of a taste that shoppers share with others."""

    tastes: Floats  # (n_archetypes, TASTE_DIM)
    departments: Floats  # (n_archetypes, n_departments)
    department_of_leaf: Ints  # (n_leaves,)
    leaf_appeal: Floats  # (n_leaves,): what everybody needs


@dataclass(frozen=True)
class Shoppers:
    """A cohort of shoppers; `rows` are their numbers in the whole shop."""

    rows: Ints
    tastes: Floats  # (n, TASTE_DIM)
    vectors: Floats  # (n, n_axes): dot product with a product's vector is the utility inside a leaf
    leaf_logits: Floats  # (n, n_leaves): how much a leaf interests them
    buys: npt.NDArray[np.bool_]  # false: browses and searches only
    passer_by: npt.NDArray[np.bool_]  # true: one short visit

    @property
    def n(self) -> int:
        """How many shoppers there are."""
        return len(self.rows)


def draw_terms(vocabulary: Vocabulary, leaves: tuple[Leaf, ...], rng: np.random.Generator) -> TermSpace:
    """Place every attribute word; words of one family (walnut, teak) lie close together."""
    family_of: dict[tuple[str, str], str] = {}
    for style in vocabulary.styles:
        family_of["style", style] = style
    for palette in vocabulary.palettes.values():
        family_of.update({("colour", colour): family for colour, family in palette.items()})
    for material, family in vocabulary.material_families.items():
        family_of["material", material] = family
    for leaf in leaves:
        family_of.update({("feature", feature): feature for feature in leaf.features})
    keys = sorted(family_of)
    groups = sorted({(kind, family_of[kind, word]) for kind, word in keys})
    centres = unit(rng.standard_normal((len(groups), TASTE_DIM)))
    group_row = {group: row for row, group in enumerate(groups)}
    directions = unit(rng.standard_normal((len(keys), TASTE_DIM)))
    shared = centres[[group_row[kind, family_of[kind, word]] for kind, word in keys]]
    return TermSpace(
        kinds=tuple(kind for kind, _ in keys),
        words=tuple(word for _, word in keys),
        rows={key: row for row, key in enumerate(keys)},
        vectors=unit(shared + 0.5 * directions),
    )


def draw_archetypes(leaves: tuple[Leaf, ...], rng: np.random.Generator) -> Archetypes:
    """Draw the kinds of people this shop attracts."""
    departments = list(dict.fromkeys(leaf.department for leaf in leaves))
    return Archetypes(
        tastes=rng.standard_normal((_N_ARCHETYPES, TASTE_DIM)).astype(np.float32),
        departments=rng.standard_normal((_N_ARCHETYPES, len(departments))).astype(np.float32),
        department_of_leaf=np.array([departments.index(leaf.department) for leaf in leaves], dtype=np.int64),
        leaf_appeal=(0.7 * rng.standard_normal(len(leaves))).astype(np.float32),
    )


def draw_shoppers(rows: Ints, archetypes: Archetypes, rng: np.random.Generator) -> Shoppers:
    """Draw a cohort: archetype plus a part of their own, a price they like, leaves they care about."""
    n = len(rows)
    kind = rng.integers(_N_ARCHETYPES, size=n)
    tastes = 0.75 * archetypes.tastes[kind] + 0.65 * rng.standard_normal((n, TASTE_DIM))
    price_weight = rng.uniform(0.1, 0.7, size=(n, 1))
    liked_price = 0.9 * rng.standard_normal((n, 1))
    vectors = np.hstack(
        [
            _TASTE_WEIGHT * tastes,
            _CHARACTER_WEIGHT * rng.standard_normal((n, CHARACTER_DIM)),
            _BRAND_WEIGHT * rng.standard_normal((n, BRAND_DIM)),
            # -weight / 2 * (price - liked)^2, less its constant, as two products
            -0.5 * price_weight,
            price_weight * liked_price,
            np.full((n, 1), _QUALITY_WEIGHT),
        ]
    ).astype(np.float32)
    departments = 0.9 * archetypes.departments[kind] + 1.1 * rng.standard_normal((n, archetypes.departments.shape[1]))
    leanings = rng.standard_normal((n, len(archetypes.department_of_leaf)))
    leaf_logits = archetypes.leaf_appeal + departments[:, archetypes.department_of_leaf] + 0.9 * leanings
    return Shoppers(
        rows=rows,
        tastes=tastes.astype(np.float32),
        vectors=vectors,
        leaf_logits=(leaf_logits - leaf_logits.mean(axis=1, keepdims=True)).astype(np.float32),
        buys=rng.random(n) < _BUYER_SHARE,
        passer_by=rng.random(n) < _PASSER_BY_SHARE,
    )


def gumbel(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Standard Gumbel noise: added to logits, the largest is a draw from their softmax."""
    uniform = rng.random(shape, dtype=np.float32)
    return -np.log(-np.log(np.clip(uniform, 1e-7, 1 - 1e-7)))


def unit(vectors: npt.NDArray[np.float64] | Floats) -> Floats:
    """Rows scaled to norm 1."""
    scaled: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled
