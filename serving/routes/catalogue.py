"""`GET /v1/items/{item_id}` and `GET /v1/categories`: the catalogue, for the pages of a shop."""

from __future__ import annotations

from collections import Counter
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
from serving.routes.services import AppServices
from serving.schemas.lists import Evidence, Id, ItemProperties

CATEGORIES_EXAMPLE: Final[dict[str, Any]] = {
    "categories": [
        {"path": "Home", "name": "Home", "depth": 1, "n_items": 65},
        {"path": "Home > Lamps", "name": "Lamps", "depth": 2, "n_items": 24},
    ],
    "release_id": "20260102T020000Z-5f2c",
}


class ItemDetail(BaseModel):
    """One item. `quotes` are sentences of its reviews, word for word, the most informative first."""

    item_id: Id
    properties: ItemProperties
    quotes: list[Evidence]
    release_id: str


class Category(BaseModel):
    """A category with all categories below it. A filter takes its `path`; `n_items` counts items that may be shown."""

    path: str
    name: str
    depth: int
    n_items: int


class Categories(BaseModel):
    """Every category with an item that may be shown, each before the categories below it."""

    categories: list[Category]
    release_id: str


catalogue_routes = APIRouter(prefix="/v1", tags=["recommendations"])


@catalogue_routes.get(
    "/items/{item_id:path}",
    summary="An item of the catalogue",
    description="With all changes since the release was published. An item that is sold out is returned with "
    "`available` false.",
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
    openapi_extra=needs(Scope.READ),
)
async def item(
    item_id: Annotated[Id, Path(description="the shop's id of the product")], services: AppServices
) -> ItemDetail:
    active = services.ready()
    recommender = active.release.recommender
    item_id = active.release.item_id_of(item_id)
    row = recommender.row_of(item_id)
    properties = ItemProperties(**recommender.properties.of_row(row))
    properties.available = properties.available and item_id not in await services.unavailable_ids(active)
    quotes = [Evidence(**asdict(quote)) for quote in recommender.facts.evidence.said_of(row, recommender.facts.hidden)]
    return ItemDetail(item_id=item_id, properties=properties, quotes=quotes, release_id=active.release.release_id)


@catalogue_routes.get(
    "/categories",
    summary="The shop's categories",
    responses={
        200: {"content": {"application/json": {"example": CATEGORIES_EXAMPLE}}},
        **documented(HTTPStatus.SERVICE_UNAVAILABLE),
    },
    openapi_extra=needs(Scope.READ),
)
async def categories(services: AppServices) -> Categories:
    active = services.ready()
    recommender = active.release.recommender
    shown = recommender.properties.available.copy()
    shown[recommender.known_rows(await services.unavailable_ids(active))] = False
    category = recommender.properties.category
    return Categories(categories=categories_of(category, shown), release_id=active.release.release_id)


def categories_of(category: Coded, shown: np.ndarray) -> list[Category]:
    """Every category with a shown item, ascending by path; shown: (n_items,) bool."""
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
