"""What shoppers type into the search box, and the advice pages they look at."""

from __future__ import annotations

from typing import Final

import numpy as np

from recsys.simulate.models import Brands
from recsys.simulate.tastes import Floats, TermSpace
from recsys.simulate.vocabulary import Leaf, Vocabulary, pick

_NOUN_SHARE: Final = 0.66  # of queries: the bare noun or a synonym
_ATTRIBUTE_SHARE: Final = 0.22  # an attribute and the noun
_BRAND_SHARE: Final = 0.05
_USE_SHARE: Final = 0.03
_MISSPELLED_SHARE: Final = 0.045

N_CHANCES: Final = 6


def write_query(
    vocabulary: Vocabulary, space: TermSpace, brands: Brands, leaf: Leaf, sought: int, chance: Floats
) -> str:
    """One query for a product of `leaf` with the attribute term `sought` (-1 = any), in lower case.

    chance: (N_CHANCES,) uniform in [0, 1), on which alone the wording depends.
    """
    # the first name of a thing is the one most people type
    noun = leaf.noun if chance[1] < 0.45 else pick(leaf.synonyms, ((chance[1] - 0.45) / 0.55) ** 1.7)
    kind = float(chance[0])
    if kind >= _NOUN_SHARE and chance[3] < 0.85:  # the more words, the plainer each
        noun = leaf.noun
    if kind < _NOUN_SHARE or (sought < 0 and kind < _NOUN_SHARE + _ATTRIBUTE_SHARE):
        query = noun
    elif kind < _NOUN_SHARE + _ATTRIBUTE_SHARE:
        query = _with_attribute(vocabulary, space, noun, sought, float(chance[2]))
    elif kind < _NOUN_SHARE + _ATTRIBUTE_SHARE + _BRAND_SHARE:
        makers = brands.of_department[leaf.department]
        brand = brands.names[makers[int(chance[2] ** 2 * len(makers))]]
        query = brand if chance[3] < 0.6 else f"{brand} {noun}"
    elif kind < _NOUN_SHARE + _ATTRIBUTE_SHARE + _BRAND_SHARE + _USE_SHARE:
        query = f"{noun} for {pick(leaf.uses, float(chance[2]))}"
    else:
        query = f"{pick(vocabulary.queries['prefixes'], float(chance[2]))} {noun}"
    query = query.lower()
    return misspell(query, float(chance[5])) if chance[4] < _MISSPELLED_SHARE else query


def misspell(query: str, chance: float) -> str:
    """The query with one slip of the fingers in its longest word: a letter lost, doubled or swapped."""
    word = max(query.split(), key=len)
    if len(word) < 4:
        return query
    place = chance * 3 * (len(word) - 2)
    slip, at = int(place) % 3, 1 + int(place) // 3
    if slip == 0:
        wrong = word[:at] + word[at + 1 :]
    elif slip == 1:
        wrong = word[:at] + word[at] + word[at:]
    else:
        wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return query.replace(word, wrong, 1)


def guides(vocabulary: Vocabulary, leaves: tuple[Leaf, ...]) -> list[str]:
    """Titles of the shop's advice pages: as many for each leaf as there are guide patterns, leaf by leaf."""
    return [
        pattern.format(noun=leaf.noun, Noun=leaf.noun[0].upper() + leaf.noun[1:])
        for leaf in leaves
        for pattern in vocabulary.queries["guides"]
    ]


def draw_chances(n: int, rng: np.random.Generator) -> Floats:
    """(n, N_CHANCES) uniform numbers for `write_query`."""
    return rng.random((n, N_CHANCES), dtype=np.float32)


def _with_attribute(vocabulary: Vocabulary, space: TermSpace, noun: str, sought: int, chance: float) -> str:
    kind, word = space.kinds[sought], space.words[sought]
    if kind == "style":
        return f"{pick(vocabulary.styles[word].words, chance**3)} {noun}"
    if kind == "feature" and word.startswith(("with ", "for ", "on ", "in ")):
        return f"{noun} {word}"
    return f"{word} {noun}" if chance < 0.8 else f"{noun} {word}"
