"""The words of the sample storefront, read from `categories.toml` and `phrases.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Leaf:
    """One leaf category: what its products are called, made of, can do, and are judged by."""

    department: str
    name: str
    code: str
    noun: str
    unit: str  # "pair of" where the noun is a plural, else empty
    styles: tuple[str, ...]
    synonyms: tuple[str, ...]
    median_price: float
    price_spread: float  # standard deviation of the logarithm
    joint: str  # what joins a material to the noun: "in" walnut, "with" sandalwood
    materials: tuple[str, ...]
    features: tuple[str, ...]  # as a title says them
    feature_sentences: tuple[str, ...]
    either: tuple[tuple[int, ...], ...]  # groups of features of which a product has one at most
    sizes: tuple[str, ...]
    palette: str  # "colours", "shade" or "none"
    uses: tuple[str, ...]
    aspects: tuple[str, ...]
    goes_with: tuple[str, ...]  # codes of leaves that shoppers visit next
    peak_month: int  # 0 where demand is even
    consumable: bool

    @property
    def path(self) -> str:
        """The category as the catalogue writes it."""
        return f"{self.department} > {self.name}"


@dataclass(frozen=True)
class Aspect:
    """How shoppers praise and blame one thing about a product."""

    good: tuple[str, ...]
    bad: tuple[str, ...]


@dataclass(frozen=True)
class Style:
    """One style: its adjectives and the sentences that show it."""

    words: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Everything the storefront can say. Families map a word to the group of words that please the same people."""

    leaves: tuple[Leaf, ...]
    styles: Mapping[str, Style]
    palettes: Mapping[str, Mapping[str, str]]  # palette -> colour -> family
    material_families: Mapping[str, str]
    aspects: Mapping[str, Aspect]
    names: Mapping[str, Sequence[str]]
    queries: Mapping[str, Sequence[str]]
    reviews: Mapping[str, Sequence[str]]


@cache
def load_vocabulary() -> Vocabulary:
    """Read the two files that ship beside this module."""
    here = files(__package__)
    categories = tomllib.loads(here.joinpath("categories.toml").read_text(encoding="utf-8"))
    phrases = tomllib.loads(here.joinpath("phrases.toml").read_text(encoding="utf-8"))
    return Vocabulary(
        leaves=tuple(_leaf(entry, phrases["department_styles"]) for entry in categories["leaf"]),
        styles={k: Style(tuple(v["words"]), tuple(v["lines"])) for k, v in phrases["styles"].items()},
        palettes={
            "colours": _family_of(phrases["colours"]),
            "shade": _family_of(phrases["shades"]),
            "none": {},
        },
        material_families=_family_of(phrases["families"]),
        aspects={k: Aspect(tuple(v["good"]), tuple(v["bad"])) for k, v in phrases["aspects"].items()},
        names=phrases["names"],
        queries=phrases["queries"],
        reviews=phrases["reviews"],
    )


def leaves_for(n_products: int) -> tuple[Leaf, ...]:
    """The leaves a shop of this size carries: all for a large one, a few of every department for a small one."""
    leaves = load_vocabulary().leaves
    departments = [leaf.department for leaf in leaves]
    rank = [departments[:position].count(name) for position, name in enumerate(departments)]
    chosen = sorted(range(len(leaves)), key=lambda i: (rank[i], i))[: max(1, min(4, n_products // 4), n_products // 15)]
    return tuple(leaves[i] for i in sorted(chosen))


def pick(options: Sequence[T], chance: float) -> T:
    """The option at `chance` (in [0, 1)) of the way through."""
    return options[int(chance * len(options))]


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" before it, by its first letter."""
    return f"{'an' if phrase[0].lower() in 'aeiou' else 'a'} {phrase}"


def _leaf(entry: Mapping[str, Any], department_styles: Mapping[str, Sequence[str]]) -> Leaf:
    features = [feature.split(" | ") for feature in entry["features"]]
    names = tuple(short for short, _ in features)
    median, spread = entry["price"]
    return Leaf(
        department=entry["department"],
        name=entry["name"],
        code=entry["code"],
        noun=entry["noun"],
        unit=entry.get("unit", ""),
        styles=tuple(entry.get("styles", department_styles[entry["department"]])),
        synonyms=tuple(entry["synonyms"]),
        median_price=float(median),
        price_spread=float(spread),
        joint=entry.get("made", "in"),
        materials=tuple(entry["materials"]),
        features=names,
        feature_sentences=tuple(sentence for _, sentence in features),
        either=tuple(tuple(names.index(name) for name in group) for group in entry.get("either", ())),
        sizes=tuple(entry.get("sizes", ())),
        palette=entry.get("palette", "colours"),
        uses=tuple(entry["uses"]),
        aspects=tuple(entry["aspects"]),
        goes_with=tuple(entry["goes_with"]),
        peak_month=entry.get("peak", 0),
        consumable=entry.get("consumable", False),
    )


def _family_of(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {word: family for family, words in groups.items() for word in words}
