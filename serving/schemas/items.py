"""Changes of items between two nightly runs: the models of `/v1/items`, their limits and examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    FiniteFloat,
    StringConstraints,
    WrapValidator,
    model_validator,
)

from features.live.item_changes import FIELDS
from features.text import item_values
from features.text.item_values import category, lines, one_line
from recsys.values.scalar import parse_flag, parse_price
from serving.schemas.lists import Id, Request, storable
from serving.schemas.partial_batch import EntryProblem, or_refused

MAX_ITEMS: Final = 1_000
MAX_DESCRIPTION_CHARS: Final = 100_000
MAX_TITLE_CHARS: Final = 2_000

MAX_ATTRIBUTES_CHARS: Final = 100_000
MAX_ATTRIBUTE_DEPTH: Final = 8


def _readable(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes; raises ValueError where they are too large, or could not be stored and read as JSON."""
    if _depth(attributes) > MAX_ATTRIBUTE_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_ATTRIBUTE_DEPTH} levels")
    try:
        written = _as_json(attributes)
        written.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain a lone surrogate (half a character)") from None
    except ValueError:
        raise ValueError("must not contain a number that is not finite") from None
    if "\\u0000" in written:
        raise ValueError("must not contain a NUL character")
    if len(written) > MAX_ATTRIBUTES_CHARS:
        raise ValueError(f"{len(written)} characters as JSON; at most {MAX_ATTRIBUTES_CHARS} are accepted")
    return item_values.attributes(attributes)


def _as_json(attributes: dict[str, Any]) -> str:
    """With sorted keys, as in the lake."""
    return json.dumps(attributes, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _depth(value: object) -> int:
    """Depth of nested lists and objects."""
    deepest, left = 0, [(value, 1)]
    while left:
        node, depth = left.pop()
        if isinstance(node, dict | list):
            deepest = max(deepest, depth)
            left += [(inner, depth + 1) for inner in (node.values() if isinstance(node, dict) else node)]
    return deepest


def _read(parse: Callable[[str], str | None]) -> Callable[[Any], Any]:
    """A validator of a text as the files of shops have it."""

    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parsed = parse(value)
        if parsed is None:
            raise ValueError("no text is left after removing markup and spaces; leave it out, or clear the field")
        return parsed

    return validate


def _path(value: Any) -> Any:
    """A category path as text; a list of its steps, or of paths, is joined as in a file."""
    return json.dumps(value) if isinstance(value, list) and all(isinstance(step, str) for step in value) else value


Line = Annotated[
    str,
    StringConstraints(max_length=MAX_TITLE_CHARS),
    AfterValidator(_read(one_line)),
    AfterValidator(storable),
]
Prose = Annotated[
    str,
    StringConstraints(max_length=MAX_DESCRIPTION_CHARS),
    AfterValidator(_read(lines)),
    AfterValidator(storable),
]
CategoryPath = Annotated[
    str,
    BeforeValidator(_path, json_schema_input_type=str | list[str]),
    StringConstraints(max_length=MAX_TITLE_CHARS),
    AfterValidator(_read(category)),
    AfterValidator(storable),
]
Available = Annotated[bool, BeforeValidator(parse_flag, json_schema_input_type=bool | float | str)]
Price = Annotated[FiniteFloat, BeforeValidator(parse_price, json_schema_input_type=float | str), Field(ge=0)]

Clearable = Literal["title", "description", "category", "brand", "price", "attributes"]


class ItemFields(Request):
    """Changed fields of an item. Fields that are left out or null stay unchanged; `clear` empties fields."""

    title: Line | None = None
    description: Prose | None = None
    category: CategoryPath | None = Field(None, description="full path from general to specific, joined by ' > '")
    brand: Line | None = None
    price: Price | None = None
    available: Available | None = None
    attributes: Annotated[dict[str, Any], AfterValidator(_readable)] | None = Field(
        None, description="replaces all attributes of the item"
    )
    clear: tuple[Clearable, ...] | None = Field(
        None, max_length=len(FIELDS), description="names of the fields that shall have no value any more"
    )

    @model_validator(mode="after")
    def _says_something(self) -> ItemFields:
        if not self.given():
            raise ValueError(f"no changes; send at least one of {', '.join(FIELDS)}, clear")
        for name in self.clear or ():
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is both set and cleared; send one of them")
        return self

    def given(self) -> dict[str, Any]:
        """The columns to store, attributes as JSON; None for those to clear."""
        fields = {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}
        if self.attributes is not None:
            fields["attributes"] = _as_json(self.attributes)
        return fields | dict.fromkeys(self.clear or ())


class ShopItem(ItemFields):
    """Changed fields of one item of a batch."""

    item_id: Id


class ItemBatch(Request):
    """Up to 1,000 items. Where an item occurs twice, its last entry counts."""

    items: tuple[Annotated[ShopItem, WrapValidator(or_refused)], ...] = Field(min_length=1, max_length=MAX_ITEMS)
    """Each is a ShopItem, or a Refused in its place."""


class ItemsResponse(BaseModel):
    """`item_ids` has an entry for each item of the request, null where the item was refused; `errors` says why. Every
    change with an id is stored durably. `version` counts the changes of all items, a batch as one."""

    accepted: int
    item_ids: list[str | None]
    errors: list[EntryProblem]
    version: int


class ItemResponse(BaseModel):
    """The change is stored durably. `version` counts the changes of all items."""

    item_id: Id
    version: int


ITEM_EXAMPLES: Final[dict[str, Any]] = {
    "sold out": {"value": {"available": False}},
    "new price": {"value": {"price": 79.9}},
    "no brand any more": {"value": {"clear": ["brand"]}},
    "new item": {
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
                {"item_id": "i-9001", **ITEM_EXAMPLES["new item"]["value"]},
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
