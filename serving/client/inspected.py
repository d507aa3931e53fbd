"""What `/v1/inspect/…` answers, as in `serving/client/answers.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from .answers import Evidence, ItemProperties, SlateItem


@dataclass(frozen=True)
class FoundItem:
    """An item by its id and title."""

    item_id: str
    title: str | None
    category: str | None


@dataclass(frozen=True)
class FindResponse:
    """Items with the id or the words, the best match first; shoppers with the id or its beginning. Where there is
    neither, the nearest ids of both kinds."""

    items: tuple[FoundItem, ...]
    user_ids: tuple[str, ...]
    nearest_item_ids: tuple[str, ...]
    nearest_user_ids: tuple[str, ...]
    release_id: str


@dataclass(frozen=True)
class Neighbour:
    """`similarity` is the cosine of the two vectors; `also_in` names the other spaces whose list has it."""

    item_id: str
    title: str | None
    category: str | None
    similarity: float
    also_in: tuple[str, ...]


@dataclass(frozen=True)
class SpaceNeighbours:
    """The nearest items in one space, none where the item has no vector in it. text: what is said of the items; cf:
    who dealt with them; fused: both in one, what lists are found by."""

    space: Literal["text", "cf", "fused"]
    has_vector: bool
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class SpaceAgreement:
    """The share of the nearest items in one space that are among those in the other."""

    space: str
    other_space: str
    share: float


@dataclass(frozen=True)
class InspectedItem:
    """An item as the lists know it. `n_shoppers` counts who dealt with it before the release."""

    item_id: str
    properties: ItemProperties
    quotes: tuple[Evidence, ...]
    n_shoppers: int
    spaces: tuple[SpaceNeighbours, ...]
    agreement: tuple[SpaceAgreement, ...]
    release_id: str


@dataclass(frozen=True)
class HistoryEntry:
    """One thing that the shopper did. The words of what was searched for and read are in no release; those since are
    told. `weight` is null for what happened `since_release`."""

    timestamp: datetime
    event_type: str
    item_id: str | None
    title: str | None
    category: str | None
    text: str | None
    weight: float | None
    since_release: bool


@dataclass(frozen=True)
class RankerFeature:
    """A feature of a place of the list; `contribution` is its SHAP value in the ranker's score."""

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True)
class InspectedShopper:
    """A shopper's history, newest first, `n_history` entries in all, and the list that they would be given now, no
    experiment counted. `ranker` has the features that count most for each of `items`; empty where the weighted sum of
    the sources ranked alone."""

    user_id: str
    n_history: int
    history: tuple[HistoryEntry, ...]
    items: tuple[SlateItem, ...]
    is_ranked: bool
    ranker: tuple[tuple[RankerFeature, ...], ...]
    fallback: str | None
    release_id: str


@dataclass(frozen=True)
class MapGroup:
    """A group of items and its colour, #rrggbb."""

    name: str
    colour: str


@dataclass(frozen=True)
class MapGrouping:
    """What items may be coloured by. `codes` has a position in `groups` for each item of the map, -1 for none."""

    by: str
    groups: tuple[MapGroup, ...]
    codes: tuple[int, ...]


@dataclass(frozen=True)
class ItemMap:
    """Every item that has a vector, on a plane where what is alike in text and behaviour lies together. `layout` is
    "t-SNE" where `recsys releases atlas` has laid the release out, else "PCA". `x` and `y` go from 0 to 65535."""

    layout: Literal["t-SNE", "PCA"]
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]
    groupings: tuple[MapGrouping, ...]
    release_id: str
