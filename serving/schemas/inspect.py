"""What `/v1/inspect/…` answers: an item among its neighbours, a shopper with the reasons of a list, the map."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel

from serving.schemas.lists import Evidence, ItemProperties, SlateItem

FOUND_EXAMPLE: Final[dict[str, Any]] = {
    "items": [{"item_id": "i-512", "title": "Ridge trail shoe, blue", "category": "Sport > Shoes"}],
    "user_ids": ["u-1042"],
    "nearest_item_ids": [],
    "nearest_user_ids": [],
    "release_id": "20260102T020000Z-5f2c",
}
MAP_EXAMPLE: Final[dict[str, Any]] = {
    "layout": "t-SNE",
    "item_ids": ["i-318", "i-512"],
    "titles": ["Ridge sock", "Ridge trail shoe, blue"],
    "x": [0, 65535],
    "y": [20011, 31544],
    "groupings": [
        {"by": "cold", "groups": [{"name": "cold", "colour": "#00224e"}], "codes": [0, -1]},
    ],
    "release_id": "20260102T020000Z-5f2c",
}


class FoundItem(BaseModel):
    """An item by its id and title."""

    item_id: str
    title: str | None
    category: str | None


class Found(BaseModel):
    """Items with the id or the words, the best match first; shoppers with the id or its beginning. Where there is
    neither, the nearest ids of both kinds."""

    items: list[FoundItem]
    user_ids: list[str]
    nearest_item_ids: list[str]
    nearest_user_ids: list[str]
    release_id: str


class Neighbour(BaseModel):
    """`similarity` is the cosine of the two vectors; `also_in` names the other spaces whose list has it."""

    item_id: str
    title: str | None
    category: str | None
    similarity: float
    also_in: list[str]


class SpaceNeighbours(BaseModel):
    """The nearest items in one space, none where the item has no vector in it. text: what is said of the items; cf:
    who dealt with them; fused: both in one, what lists are found by."""

    space: Literal["text", "cf", "fused"]
    has_vector: bool
    neighbours: list[Neighbour]


class SpaceAgreement(BaseModel):
    """The share of the nearest items in one space that are among those in the other."""

    one: str
    other: str
    share: float


class InspectedItem(BaseModel):
    """An item as the lists know it. `n_shoppers` counts who dealt with it before the release."""

    item_id: str
    properties: ItemProperties
    quotes: list[Evidence]
    n_shoppers: int
    spaces: list[SpaceNeighbours]
    agreement: list[SpaceAgreement]
    release_id: str


class HistoryEntry(BaseModel):
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


class RankerFeature(BaseModel):
    """A feature of a place of the list; `contribution` is its SHAP value in the ranker's score."""

    feature: str
    value: float
    contribution: float


class InspectedShopper(BaseModel):
    """A shopper's history, newest first, `n_history` entries in all, and the list that they would be given now, no
    experiment counted. `ranker` has the features that count most for each of `items`; empty where the weighted sum of
    the sources ranked alone."""

    user_id: str
    n_history: int
    history: list[HistoryEntry]
    items: list[SlateItem]
    is_ranked: bool
    ranker: list[list[RankerFeature]]
    fallback: str | None
    release_id: str


class MapGroup(BaseModel):
    """A group of items and its colour, #rrggbb."""

    name: str
    colour: str


class MapGrouping(BaseModel):
    """What items may be coloured by. `codes` has a position in `groups` for each item of the map, -1 for none."""

    by: str
    groups: list[MapGroup]
    codes: list[int]


class ItemMap(BaseModel):
    """Every item that has a vector, on a plane where what is alike in text and behaviour lies together. `layout` is
    "t-SNE" where `recsys releases atlas` has laid the release out, else "PCA". `x` and `y` go from 0 to 65535."""

    layout: Literal["t-SNE", "PCA"]
    item_ids: list[str]
    titles: list[str]
    x: list[int]
    y: list[int]
    groupings: list[MapGrouping]
    release_id: str
