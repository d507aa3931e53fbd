"""How satisfied a shopper is with each aspect of a purchase, and what they write about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.simulate.clock import DAY
from recsys.simulate.journeys import Purchases
from recsys.simulate.models import MAX_ASPECTS, STYLE
from recsys.simulate.shop import Shop
from recsys.simulate.tastes import Floats, Ints, Shoppers
from recsys.simulate.vocabulary import Leaf, Vocabulary, pick

_REVIEW_SHARE: Final = 0.72
_RETURN_LOGIT: Final = -2.6
_STAR_BOUNDS: Final = (-1.15, -0.9, -0.5, 0.08)  # overall satisfaction below which stars are 1, 2, 3, 4
_STAR_NOISE: Final = 0.25
_USUAL_UTILITY: Final = 3.0  # of a product that is bought

N_CHANCES: Final = 16


@dataclass(frozen=True)
class Outcomes:
    """What became of each purchase; arrays are (n_purchases,) unless said otherwise."""

    aspects: Floats  # (n_purchases, MAX_ASPECTS) satisfaction, 0 = as expected; NaN where a leaf has fewer
    style: Floats  # how the style pleases
    overall: Floats
    stars: Ints
    returned: Ints  # µs, -1 = kept
    reviewed: Ints  # µs, -1 = no review


def draw_outcomes(shop: Shop, shoppers: Shoppers, purchases: Purchases, rng: np.random.Generator) -> Outcomes:
    """Satisfaction is the product's own quality, the shopper's luck, and how well it suits their taste.

    What would happen after the shop's last day is left out.
    """
    products, end = shop.products, shop.end
    n = len(purchases.item)
    style_terms = products.terms[purchases.item, STYLE]
    style = np.einsum("nd,nd->n", shoppers.tastes[purchases.shopper], shop.space.vectors[style_terms])
    suits = np.clip(
        (_rows_dot(shoppers.vectors[purchases.shopper], products.vectors[purchases.item]) - _USUAL_UTILITY) / 2.5, -2, 2
    )
    luck = 0.5 * rng.standard_normal((n, MAX_ASPECTS))
    aspects = 0.8 * products.aspect_quality[purchases.item] + luck + 0.2 * suits[:, None]
    n_aspects = np.array([len(leaf.aspects) for leaf in shop.leaves])[products.leaf[purchases.item]]
    aspects = np.where(np.arange(MAX_ASPECTS) < n_aspects[:, None], aspects, np.nan)
    overall = np.nanmean(aspects, axis=1) + 0.25 * suits + _STAR_NOISE * rng.standard_normal(n)
    stars = 1 + np.digitize(overall, _STAR_BOUNDS)
    returns = rng.random(n) < 1 / (1 + np.exp(-(_RETURN_LOGIT - 1.6 * overall)))
    returned = purchases.bought + (rng.uniform(2, 16, n) * DAY).astype(np.int64)
    writes = rng.random(n) < _REVIEW_SHARE
    reviewed = purchases.bought + ((1 + rng.lognormal(1.3, 0.8, n)) * DAY).astype(np.int64)
    return Outcomes(
        aspects=aspects.astype(np.float32),
        style=style.astype(np.float32),
        overall=overall.astype(np.float32),
        stars=stars.astype(np.int64),
        returned=np.where(returns & (returned < end), returned, -1),
        reviewed=np.where(writes & (reviewed < end), reviewed, -1),
    )


def write_review(
    vocabulary: Vocabulary,
    leaf: Leaf,
    style_word: str,
    aspects: Floats,
    style: float,
    stars: int,
    chance: npt.NDArray[np.float64],
) -> tuple[str, str]:
    """Title and text of one review; each sentence about an aspect agrees with how that aspect pleased.

    aspects: (MAX_ASPECTS,) satisfaction, 0 = as expected, NaN beyond the leaf's aspects.
    chance: (N_CHANCES,) uniform in [0, 1), on which alone the wording depends.
    """
    phrases = vocabulary.reviews
    mood = "good" if stars >= 4 else "mixed" if stars == 3 else "bad"
    person = pick(phrases["who"], chance[0])
    what = pick((leaf.noun, *leaf.synonyms), chance[1] ** 2)
    this = "these" if what.endswith("s") else "this"
    fields = {"what": what, "this": this, "who": person, "style": style_word}
    fields["Who"] = "Everyone" if person == "myself" or person.startswith(("our", "the")) else _capital(person)
    aspect_lines = _on_aspects(vocabulary, leaf, aspects, stars, chance[4:12])
    sentences = []
    if chance[2] < 0.65 or not aspect_lines:
        sentences.append(pick(phrases[f"openings_{mood}"], chance[3]).format(**fields))
    sentences += aspect_lines
    if chance[12] < 0.25 and abs(style) > 0.6 and mood != ("bad" if style > 0 else "good"):
        sentences.append(pick(phrases["style_good" if style > 0 else "style_bad"], chance[13]).format(**fields))
    if chance[14] < 0.3:
        sentences.append(pick(phrases[f"closings_{mood}"], chance[15]).format(**fields))
    title = pick(phrases[f"titles_{mood}"], (chance[3] + chance[15]) % 1.0).format(**fields)
    return title, " ".join(sentences[:5])


def _on_aspects(
    vocabulary: Vocabulary, leaf: Leaf, aspects: Floats, stars: int, chance: npt.NDArray[np.float64]
) -> list[str]:
    """Sentences about the aspects that pleased or annoyed most; praise and blame are joined by a turn.

    A happy shopper tells of what is best and now and then of the worst, an unhappy one the other way round.
    """
    order = np.argsort(-aspects[: len(leaf.aspects)])
    n_said = 1 + int(chance[0] < 0.6) + int(chance[0] < 0.2)
    turns = chance[1] < (0.12 if stars in (1, 5) else 0.5)
    n_good = n_said if stars >= 4 else 1 if stars == 3 or turns else 0
    n_bad = n_said if stars <= 2 else 1 if stars == 3 or turns else 0
    good = [vocabulary.aspects[leaf.aspects[k]].good for k in order[:n_good] if aspects[k] > 0]
    bad = [vocabulary.aspects[leaf.aspects[k]].bad for k in order[::-1][:n_bad] if aspects[k] <= 0]
    praise = _joined([pick(bank, chance[2 + n]) for n, bank in enumerate(good)], chance[4])
    blame = _joined([pick(bank, chance[5 + n]) for n, bank in enumerate(bad)], chance[4])
    first, second = (blame, praise) if stars <= 2 else (praise, blame)
    if first and second:
        turn = pick(vocabulary.reviews["turns_to_good" if second is praise else "turns_to_bad"], chance[7])
        second[0] = turn + (second[0] if second[0].startswith("I ") else second[0][0].lower() + second[0][1:])
    return first + second


def _joined(phrases: list[str], chance: float) -> list[str]:
    if len(phrases) >= 2 and chance < 0.6:
        return [f"{_capital(phrases[0])} and {phrases[1]}.", *(f"{_capital(p)}." for p in phrases[2:])]
    return [f"{_capital(phrase)}." for phrase in phrases]


def _capital(phrase: str) -> str:
    return phrase[0].upper() + phrase[1:]


def _rows_dot(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", left, right), dtype=np.float64)
