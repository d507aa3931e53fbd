"""`GET /v1/items/{item_id}` and `GET /v1/categories`: what a shop's pages read of the catalogue itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Path
from pydantic import BaseModel

from features.workspace.api_keys import Scope
from recsys.properties import PATH_SEPARATOR, Coded
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.releases.active import ActiveRelease
from serving.schemas.lists import Evidence, Id, ItemProperties

CATEGORIES_EXAMPLE: Final[dict[str, Any]] = {
    "categories": [
        {"path": "Home", "name": "Home", "depth": 1, "n_items": 65},
        {"path": "Home > Lamps", "name": "Lamps", "depth": 2, "n_items": 24},
    ],
    "release_id": "20260102T020000Z-5f2c",
}


class ItemDetail(BaseModel):
    """One item. `quotes` are sentences of its reviews, word for word, the most telling first."""

    item_id: Id
    properties: ItemProperties
    quotes: list[Evidence]
    release_id: str


class Category(BaseModel):
    """A category and all below it. `path` is what a filter takes; `n_items` counts what may be shown."""

    path: str
    name: str
    depth: int
    n_items: int


class Categories(BaseModel):
    """Every category that has an item to show, each before those below it."""

    categories: list[Category]
    release_id: str


def catalogue_routes(
    ready: Callable[[], ActiveRelease], gone: Callable[[ActiveRelease], Awaitable[frozenset[str]]]
) -> APIRouter:
    """ready: what answers now; gone: ids that are sold no more, whatever that says."""
    routes = APIRouter()

    @routes.get(
        "/items/{item_id:path}",
        summary="What is known of an item",
        description="As the lists know it, changes of the day included. An item that is sold out is told, too, with "
        "`available` false.",
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
        openapi_extra=needs(Scope.READ),
    )
    async def item(item_id: Annotated[Id, Path(description="the shop's id of the product")]) -> ItemDetail:
        current = ready()
        recommender = current.release.recommender
        row = recommender.row_of(item_id)
        properties = ItemProperties(**recommender.properties.of_row(row))
        properties.available = properties.available and item_id not in await gone(current)
        said = recommender.facts.evidence.said_of(row, recommender.facts.hidden)
        quotes = [Evidence(**asdict(quote)) for quote in said]
        return ItemDetail(item_id=item_id, properties=properties, quotes=quotes, release_id=current.release.release_id)

    @routes.get(
        "/categories",
        summary="The shop's categories",
        responses={
            200: {"content": {"application/json": {"example": CATEGORIES_EXAMPLE}}},
            **documented(HTTPStatus.SERVICE_UNAVAILABLE),
        },
        openapi_extra=needs(Scope.READ),
    )
    async def categories() -> Categories:
        current = ready()
        recommender = current.release.recommender
        shown = recommender.properties.available.copy()
        shown[recommender.known_rows(await gone(current))] = False
        found = categories_of(recommender.properties.category, shown)
        return Categories(categories=found, release_id=current.release.release_id)

    return routes


def categories_of(category: Coded, shown: np.ndarray) -> list[Category]:
    """Every category with an item that is shown, ascending by path; shown: (n_items,) bool."""
    codes = category.codes[shown]
    counts = np.bincount(codes[codes >= 0], minlength=len(category.names))
    n_items: Counter[tuple[str, ...]] = Counter()
    for name, count in zip(category.names, counts.tolist(), strict=True):
        steps = tuple(step.strip() for step in name.split(PATH_SEPARATOR))
        for depth in range(1, len(steps) + 1):
            n_items[steps[:depth]] += count
    return [
        Category(path=f" {PATH_SEPARATOR} ".join(steps), name=steps[-1], depth=len(steps), n_items=count)
        for steps, count in sorted(n_items.items())
        if count > 0
    ]
