"""Responses of `/v1/inspect/…`: an item and its neighbours, a shopper and the reasons for a list, the map."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel

from serving.schemas.lists import Evidence, ItemProperties, SlateItem

FIND_EXAMPLE: Final[dict[str, Any]] = {
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
    """An item that matches the search."""

    item_id: str
    title: str | None
    category: str | None


class FindResponse(BaseModel):
    """Items that have this id or these words in the title, best match first, and shoppers whose id starts with the
    text. Where nothing matches, the most similar ids of items and shoppers."""

    items: list[FoundItem]
    user_ids: list[str]
    nearest_item_ids: list[str]
    nearest_user_ids: list[str]
    release_id: str


class Neighbour(BaseModel):
    """A similar item. `similarity` is the cosine similarity of the vectors; `also_in` lists the other spaces in which
    it is a neighbour too."""

    item_id: str
    title: str | None
    category: str | None
    similarity: float
    also_in: list[str]


class SpaceNeighbours(BaseModel):
    """The nearest items in one vector space, empty where the item has no vector in it. text: embeddings of descriptions
    and reviews; cf: collaborative filtering; fused: both combined, as used to find candidates."""

    space: Literal["text", "cf", "fused"]
    has_vector: bool
    neighbours: list[Neighbour]


class SpaceAgreement(BaseModel):
    """The share of the nearest items in `space` that are also among those in `other_space`."""

    space: str
    other_space: str
    share: float


class InspectedItem(BaseModel):
    """An item as of the active release. `n_shoppers` counts the shoppers with an event of it before the release."""

    item_id: str
    properties: ItemProperties
    quotes: list[Evidence]
    n_shoppers: int
    spaces: list[SpaceNeighbours]
    agreement: list[SpaceAgreement]
    release_id: str


class HistoryEntry(BaseModel):
    """An event of the shopper. Texts that were searched for or read before the release are not stored in it, so `text`
    is null there. `weight` is null for an event since the release."""

    timestamp: datetime
    event_type: str
    item_id: str | None
    title: str | None
    category: str | None
    text: str | None
    weight: float | None
    since_release: bool


class RankerFeature(BaseModel):
    """A ranking feature of an item of the list; `contribution` is its SHAP value in the ranker's score."""

    feature: str
    value: float
    contribution: float


class InspectedShopper(BaseModel):
    """A shopper's history, newest first (`n_history` counts all entries), and the list they would get now, outside any
    experiment. `ranker` has the most important features for each of `items`; it is empty where the list was ranked by
    the weighted sum of the sources, without the ranker."""

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
    """A way to colour the items. `codes` has the index into `groups` for each item of the map, -1 for none."""

    by: str
    groups: list[MapGroup]
    codes: list[int]


class ItemMap(BaseModel):
    """Every item that has a vector, on a plane where items that are similar in text and behaviour lie close together.
    `layout` is "t-SNE" if `recsys releases atlas` has computed a layout of the release, else "PCA". `x` and `y` range
    from 0 to 65535."""

    layout: Literal["t-SNE", "PCA"]
    item_ids: list[str]
    titles: list[str]
    x: list[int]
    y: list[int]
    groupings: list[MapGrouping]
    release_id: str
