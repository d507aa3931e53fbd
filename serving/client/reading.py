"""Reads answers from JSON into the dataclasses of `answers.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .answers import SlateItem, SlateResponse

T = TypeVar("T")

UNAVAILABLE = "unavailable"
"""`fallback` and `source` of a list that the caller provided because the service did not answer."""


def fallback_list(item_ids: Sequence[str]) -> SlateResponse:
    """The caller's items in the form of an answer."""
    items = [SlateItem(item_id, 0.0, rank, UNAVAILABLE, None) for rank, item_id in enumerate(item_ids, 1)]
    return SlateResponse("", tuple(items), UNAVAILABLE, "", 0.0)


def read(kind: Callable[..., T], raw: Mapping[str, Any]) -> T:
    """The answer as `kind`. Fields that this client does not know are ignored, so that the service may add some.

    Arrays become tuples. Raises TypeError, ValueError or AttributeError for anything else.
    """
    return kind(**{name: _value(hint, raw[name]) for name, hint in _hints(kind).items() if name in raw})


def _value(hint: Any, raw: Any) -> Any:
    if raw is None:
        return None
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _value(next(kind for kind in get_args(hint) if kind is not NoneType), raw)
    if origin is Sequence:
        return tuple(_value(get_args(hint)[0], entry) for entry in raw)
    if hint is datetime:
        return datetime.fromisoformat(raw)
    if isinstance(hint, type) and is_dataclass(hint):
        return read(hint, raw)
    return raw


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
