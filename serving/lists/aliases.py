"""Requests that name items by another id than the catalogue's: an SKU, the id of a variant, a handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from serving.schemas.list_options import ListRequest, PinRule
from serving.schemas.lists import RecommendRequest, SessionEvent

if TYPE_CHECKING:
    from features.store.release import LoadedRelease

RequestT = TypeVar("RequestT", bound=RecommendRequest)


def by_item_id(request: RequestT, release: LoadedRelease) -> RequestT:
    """The request with the ids that the catalogue has; the request itself where nothing changes."""
    if not release.aliases:
        return request
    changed: dict[str, Any] = {}
    for name in ("item_ids", "exclude_ids"):
        ids: tuple[str, ...] = getattr(request, name)
        if (meant := item_ids_of(ids, release)) != ids:
            changed[name] = meant
    parts: dict[str, tuple[SessionEvent | PinRule, ...]] = {
        "session": request.session,
        "pins": request.pins if isinstance(request, ListRequest) else (),
    }
    for name, entries in parts.items():
        if any(entry.item_id and release.item_id_of(entry.item_id) != entry.item_id for entry in entries):
            changed[name] = tuple(
                entry.model_copy(update={"item_id": release.item_id_of(entry.item_id)}) if entry.item_id else entry
                for entry in entries
            )
    return request.model_copy(update=changed) if changed else request


def item_ids_of(ids: tuple[str, ...], release: LoadedRelease) -> tuple[str, ...]:
    """Each id as the catalogue has it."""
    return tuple(map(release.item_id_of, ids)) if release.aliases else ids
