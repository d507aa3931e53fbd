"""What a storefront tells of its products between two nights: the models of `/v1/items`, their limits and examples."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, FiniteFloat, StringConstraints, WrapValidator, model_validator

from features.item_changes import FIELDS
from serving.contract import Id, Request, storable
from serving.mixed_batch import EntryProblem, or_refused

MAX_ITEMS: Final = 1_000
MAX_DESCRIPTION_CHARS: Final = 100_000
MAX_TITLE_CHARS: Final = 2_000

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
    attributes: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ItemFields:
        if not self.given():
            raise ValueError(f"nothing to change; send at least one of {', '.join(FIELDS)}")
        if self.attributes is not None and "\\u0000" in json.dumps(self.attributes):
            raise ValueError("attributes hold a NUL character, which no database keeps")
        return self

    def given(self) -> dict[str, Any]:
        """The columns to store, attributes as JSON with sorted keys as in the lake."""
        fields = {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}
        if self.attributes is not None:
            fields["attributes"] = json.dumps(self.attributes, ensure_ascii=False, sort_keys=True)
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
