"""The client against the service's OpenAPI document: its methods, and its generated requests and answers."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict
from urllib.parse import unquote

import pytest

from serving.client import Client, answers, requests
from serving.client.answers import SlateResponse

CALLS: dict[str, Callable[[Client], object]] = {
    "recommend": lambda client: client.recommend(user_id="ann"),
    "search": lambda client: client.search(text="shoes"),
    "similar": lambda client: client.similar(item_id="rug"),
    "complements": lambda client: client.complements(item_ids=["rug"]),
    "popular": lambda client: client.popular(),
    "recommend_batch": lambda client: client.recommend_batch([]),
    "send_events": lambda client: client.send_events([]),
    "put_item": lambda client: client.put_item("{item_id}"),
    "put_items": lambda client: client.put_items([]),
    "delete_item": lambda client: client.delete_item("{item_id}"),
    "item": lambda client: client.item("{item_id}"),
    "categories": lambda client: client.categories(),
    "shoppers": lambda client: client.shoppers(),
    "erase_user": lambda client: client.erase_user("{user_id}"),
    "merge_users": lambda client: client.merge_users("{user_id}", ["cookie"]),
    "explain": lambda client: client.explain("{recommendation_id}"),
    "experiments": lambda client: client.experiments(),
    "inspect_find": lambda client: client.inspect_find("rug"),
    "inspect_item": lambda client: client.inspect_item("{item_id}"),
    "inspect_shopper": lambda client: client.inspect_shopper("{user_id}"),
    "inspect_map": lambda client: client.inspect_map(),
    "release": lambda client: client.release(),
}
"""What a method calls, with ids that read like the path's parameters."""

ENVELOPES = {"BatchRequest", "EventBatch", "ItemBatch"}
"""Bodies that a method makes of its arguments."""

OF_OPERATORS = {"Alive", "Ready"}
KINDS = {str: "string", float: "number", int: "integer", bool: "boolean", datetime: "string", NoneType: "null"}


class Recorder:
    """A wire that records its calls."""

    def __init__(self, *_: object) -> None:
        self.calls: list[tuple[str, str, type]] = []

    def call(self, kind: type, method: str, path: str, *_: object) -> None:
        self.calls.append((method, unquote(path.partition("?")[0]), kind))


def call_of(name: str) -> tuple[str, str, type]:
    recorder = Recorder()
    CALLS[name](Client("http://shop", wire=lambda *_: recorder))  # type: ignore[arg-type,return-value]
    (call,) = recorder.calls
    return call


def routes(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if path.startswith("/v1/")
    }


def request_of(name: str) -> type | None:
    """What the method's keywords are, where it takes any."""
    hints = get_type_hints(getattr(Client, name))
    keywords = inspect.getfullargspec(getattr(Client, name)).varkw
    return get_args(hints[keywords])[0] if keywords else None


def test_every_route_has_a_method_and_every_method_a_route(described: dict[str, Any]) -> None:
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"close"} == set(CALLS)
    assert {call_of(name)[:2] for name in CALLS} == set(routes(described))


@pytest.mark.parametrize("name", CALLS)
def test_a_method_takes_and_returns_what_its_route_does(described: dict[str, Any], name: str) -> None:
    method, path, kind = call_of(name)
    operation = routes(described)[method, path]
    (answer,) = (each for status, each in operation["responses"].items() if status.startswith("2"))
    assert answer["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{kind.__name__}"}
    assert get_type_hints(getattr(Client, name))["return"] is kind
    request = request_of(name)
    if request is requests.PopularRequest:
        parameters = {each["name"]: each["schema"] for each in operation["parameters"]}
        assert_same_fields(request, {"properties": parameters})
    elif request is not None:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": f"#/components/schemas/{request.__name__}"}


def test_lists_may_fall_back(described: dict[str, Any]) -> None:
    lists = {name for name in CALLS if call_of(name)[2] is SlateResponse}
    assert lists == {name for name in CALLS if "fallback" in inspect.signature(getattr(Client, name)).parameters}


def ours() -> dict[str, type]:
    """Every request and answer of the client by its name."""
    kinds = [kind for kind in [*vars(requests).values(), *vars(answers).values()] if isinstance(kind, type)]
    return {kind.__name__: kind for kind in kinds if is_typeddict(kind) or is_dataclass(kind)}


def test_every_schema_is_in_the_client_and_the_other_way_round(described: dict[str, Any]) -> None:
    schemas = set(described["components"]["schemas"]) - ENVELOPES - OF_OPERATORS
    assert set(ours()) - {"PopularRequest"} == schemas


def test_every_field_is_in_the_client_and_the_other_way_round(described: dict[str, Any]) -> None:
    for name, kind in ours().items():
        if name != "PopularRequest":  # in the address, not in a body
            assert_same_fields(kind, described["components"]["schemas"][name])


def assert_same_fields(kind: type, schema: dict[str, Any]) -> None:
    hints = get_type_hints(kind)
    assert set(hints) == set(schema["properties"]), kind
    required = set(schema.get("required", ()))
    if is_typeddict(kind):
        assert kind.__required_keys__ == required, kind  # type: ignore[attr-defined]
    else:
        assert {each.name for each in fields(kind) if each.default is each.default_factory is MISSING} == required, kind
    for field, hint in hints.items():
        assert kinds_of(hint) == kinds(schema["properties"][field]), (kind, field)


def kinds(schema: dict[str, Any]) -> set[str]:
    """The JSON types and words that the schema allows."""
    if "anyOf" in schema:
        return set().union(*(kinds(each) for each in schema["anyOf"]))
    if "$ref" in schema:
        return {"object"}
    return set(schema["enum"]) if "enum" in schema else {schema["type"]}


def kinds_of(hint: Any) -> set[str]:
    """The same of a type of Python."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return set().union(*(kinds_of(each) for each in get_args(hint)))
    if origin is Literal:
        return set(get_args(hint))
    if origin in (Sequence, tuple):
        return {"array"}
    if origin is Mapping or is_typeddict(hint) or is_dataclass(hint):
        return {"object"}
    if origin is not None:  # Required and NotRequired
        return kinds_of(get_args(hint)[0])
    return {KINDS[hint]}
