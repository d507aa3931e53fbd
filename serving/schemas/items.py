"""What a storefront tells of its products between two nights: the models of `/v1/items`, their limits and examples."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, FiniteFloat, StringConstraints, WrapValidator, model_validator

from features.live.item_changes import FIELDS
from serving.schemas.lists import Id, Request, storable
from serving.schemas.partial_batch import EntryProblem, or_refused

MAX_ITEMS: Final = 1_000
MAX_DESCRIPTION_CHARS: Final = 100_000
MAX_TITLE_CHARS: Final = 2_000

MAX_ATTRIBUTES_CHARS: Final = 100_000
MAX_ATTRIBUTE_DEPTH: Final = 8


def _readable(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes; ValueError where they are too much, or some reader of the stored JSON would fail at them."""
    if _depth(attributes) > MAX_ATTRIBUTE_DEPTH:
        raise ValueError(f"nested deeper than {MAX_ATTRIBUTE_DEPTH} levels")
    try:
        written = _as_json(attributes)
        written.encode()
    except UnicodeEncodeError:
        raise ValueError("hold half a character (a lone surrogate)") from None
    except ValueError:
        raise ValueError("hold a number that is not finite") from None
    if "\\u0000" in written:
        raise ValueError("hold a NUL character, which no database keeps")
    if len(written) > MAX_ATTRIBUTES_CHARS:
        raise ValueError(f"have {len(written)} characters as JSON; {MAX_ATTRIBUTES_CHARS} at most can be taken")
    return attributes


def _as_json(attributes: dict[str, Any]) -> str:
    """With sorted keys, as in the lake."""
    return json.dumps(attributes, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _depth(value: object) -> int:
    """How many lists and objects lie within each other."""
    deepest, left = 0, [(value, 1)]
    while left:
        node, depth = left.pop()
        if isinstance(node, dict | list):
            deepest = max(deepest, depth)
            left += [(inner, depth + 1) for inner in (node.values() if isinstance(node, dict) else node)]
    return deepest


Line = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TITLE_CHARS), AfterValidator(storable)]
Prose = Annotated[str, StringConstraints(min_length=1, max_length=MAX_DESCRIPTION_CHARS), AfterValidator(storable)]


class ItemFields(Request):
    """What is new of a product. Fields that are left out, or null, stay as they are."""

    title: Line | None = None
    description: Prose | None = None
    category: Line | None = Field(None, description="a path, general to special, joined by ' > '")
    brand: Line | None = None
    price: Annotated[FiniteFloat, Field(ge=0)] | None = None
    available: bool | None = None
    attributes: Annotated[dict[str, Any], AfterValidator(_readable)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ItemFields:
        if not self.given():
            raise ValueError(f"nothing to change; send at least one of {', '.join(FIELDS)}")
        return self

    def given(self) -> dict[str, Any]:
        """The columns to store, attributes as JSON."""
        fields = {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}
        if self.attributes is not None:
            fields["attributes"] = _as_json(self.attributes)
        return fields


class ShopItem(ItemFields):
    """What is new of a product of a batch."""

    item_id: Id


class ItemBatch(Request):
    """Up to 1,000 products; where one is named twice, what is said last counts."""

    items: tuple[Annotated[ShopItem, WrapValidator(or_refused)], ...] = Field(min_length=1, max_length=MAX_ITEMS)
    """Each a ShopItem, or a Refused in its place."""


class ItemsResponse(BaseModel):
    """`item_ids` follow the request, null where the product was refused; `errors` say why. What has an id is on the
    disk; `version` counts the changes of all items, a batch as one."""

    accepted: int
    item_ids: list[str | None]
    errors: list[EntryProblem]
    version: int


class ItemResponse(BaseModel):
    """The change is on the disk; `version` counts the changes of all items."""

    item_id: Id
    version: int


ITEM_EXAMPLES: Final[dict[str, Any]] = {
    "sold out": {"value": {"available": False}},
    "a new price": {"value": {"price": 79.9}},
    "a new product": {
        "value": {
            "title": "Ridge trail shoe, blue",
            "description": "A light shoe for wet trails, with a drop of 6 mm.",
            "category": "Shoes > Running",
            "brand": "Ridge",
            "price": 119.0,
            "available": True,
            "attributes": {"color": "blue", "sizes": [40, 41, 42]},
        }
    },
}

ITEM_BATCH_EXAMPLES: Final[dict[str, Any]] = {
    "prices and stock": {
        "value": {
            "items": [
                {"item_id": "i-318", "price": 79.9},
                {"item_id": "i-77", "available": False},
                {"item_id": "i-9001", **ITEM_EXAMPLES["a new product"]["value"]},
            ]
        }
    }
}

ITEMS_EXAMPLE: Final[dict[str, Any]] = {
    "accepted": 1,
    "item_ids": ["i-318", None],
    "errors": [{"index": 1, "field": "price", "message": "Input should be greater than or equal to 0"}],
    "version": 412,
}
