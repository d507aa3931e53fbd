"""`Client`: a method for each route."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import quote, urlencode

from .answers import (
    BatchResponse,
    Categories,
    ErasureResponse,
    EventsResponse,
    ExperimentsResponse,
    ExplainResponse,
    FindResponse,
    InspectedItem,
    InspectedShopper,
    ItemDetail,
    ItemMap,
    ItemResponse,
    ItemsResponse,
    MergeResponse,
    ReleaseResponse,
    Shoppers,
    SlateResponse,
)
from .reading import fallback_list
from .requests import (
    ComplementsRequest,
    ItemFields,
    ListRequest,
    PopularRequest,
    SearchRequest,
    ShopEvent,
    ShopItem,
    SimilarRequest,
)
from .wire import ProblemError, Wire

log = logging.getLogger(__name__)

T = TypeVar("T")


class Client:
    """A client of the service at `url`. Create one per process: it keeps connections open, and threads may share it.

    key: the API key, where the service needs one. list_timeout_s: time limit for a list, including retries;
    bulk_timeout_s: time limit for batches, events and items, for which no shopper waits. retries: how often a failed
    request is sent again (`serving/client/wire.py` lists after which failures). headers: called for each request; with
    OpenTelemetry's `propagate.inject` the service's spans join the caller's trace.

    Every list method takes `fallback`, ids to show where the service does not answer or refuses. Then nothing is
    raised, the reason is logged, and the `fallback` of the returned list is "unavailable". Without it, and from every
    other method, a failure raises ProblemError.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        list_timeout_s: float = 1.0,
        bulk_timeout_s: float = 60.0,
        retries: int = 2,
        headers: Callable[[], Mapping[str, str]] = dict,
        wire: Callable[..., Wire] = Wire,
    ) -> None:
        self._wire = wire(url, key, retries, headers)
        self._list_timeout_s = list_timeout_s
        self._bulk_timeout_s = bulk_timeout_s

    def recommend(self, *, fallback: Sequence[str] | None = None, **request: Unpack[ListRequest]) -> SlateResponse:
        """A list for a shopper, a session, a page or a text."""
        return self._list("/v1/recommend", request, fallback)

    def search(self, *, fallback: Sequence[str] | None = None, **request: Unpack[SearchRequest]) -> SlateResponse:
        """A list for a search query."""
        return self._list("/v1/search", request, fallback)

    def similar(self, *, fallback: Sequence[str] | None = None, **request: Unpack[SimilarRequest]) -> SlateResponse:
        """Items similar to one item."""
        return self._list("/v1/similar", request, fallback)

    def complements(
        self, *, fallback: Sequence[str] | None = None, **request: Unpack[ComplementsRequest]
    ) -> SlateResponse:
        """Items that are bought together with these items."""
        return self._list("/v1/complements", request, fallback)

    def popular(self, *, fallback: Sequence[str] | None = None, **request: Unpack[PopularRequest]) -> SlateResponse:
        """Bestsellers, of the shop or of a category."""
        given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in request.items()}
        path = f"/v1/popular?{urlencode(given)}" if given else "/v1/popular"
        return self._or_fallback("GET", path, None, fallback)

    def recommend_batch(self, requests: Sequence[ListRequest]) -> BatchResponse:
        """Up to 1,000 lists; a failed one does not affect the others."""
        return self._bulk(BatchResponse, "POST", "/v1/recommend:batch", {"requests": list(requests)})

    def send_events(self, events: Sequence[ShopEvent]) -> EventsResponse:
        """Up to 1,000 events, stored durably when this returns. Each gets an id before it is first sent, so that it
        counts once even if it is sent twice."""
        named = [{"event_id": uuid.uuid4().hex, **event} for event in events]
        return self._bulk(EventsResponse, "POST", "/v1/events", {"events": named})

    def put_item(self, item_id: str, **fields: Unpack[ItemFields]) -> ItemResponse:
        """Change or add an item; fields that are left out stay unchanged."""
        return self._bulk(ItemResponse, "PUT", _of_item(item_id), fields)

    def put_items(self, items: Sequence[ShopItem]) -> ItemsResponse:
        """Up to 1,000 items in one transaction; a refused one does not affect the others."""
        return self._bulk(ItemsResponse, "PUT", "/v1/items", {"items": list(items)})

    def delete_item(self, item_id: str) -> ItemResponse:
        """Remove an item from all lists."""
        return self._bulk(ItemResponse, "DELETE", _of_item(item_id), None)

    def item(self, item_id: str) -> ItemDetail:
        """An item's properties, and quotes from its reviews."""
        return self._bulk(ItemDetail, "GET", _of_item(item_id), None)

    def categories(self) -> Categories:
        """The categories, and the number of available items in each."""
        return self._bulk(Categories, "GET", "/v1/categories", None)

    def shoppers(self, count: int = 8) -> Shoppers:
        """A sample of known shoppers to try lists with. Needs the scope `admin`."""
        return self._bulk(Shoppers, "GET", f"/v1/shoppers?count={count}", None)

    def erase_user(self, user_id: str) -> ErasureResponse:
        """Stop using a shopper's data now, and erase it with the next nightly run. Needs the scope `admin`."""
        return self._bulk(ErasureResponse, "DELETE", f"/v1/users/{quote(user_id, safe='')}", None)

    def merge_users(self, user_id: str, user_ids: Sequence[str]) -> MergeResponse:
        """What was done under `user_ids`, such as that of the cookie before a login, belongs to this shopper from now
        on. Needs the scope `write`."""
        return self._bulk(MergeResponse, "POST", f"/v1/users/{quote(user_id, safe='')}:merge", {"user_ids": user_ids})

    def explain(self, recommendation_id: str) -> ExplainResponse:
        """Why a list had these items."""
        return self._bulk(ExplainResponse, "GET", f"/v1/explain/{quote(recommendation_id, safe='')}", None)

    def experiments(self, metric: str = "purchase") -> ExperimentsResponse:
        """Results of the experiments. metric: the outcome, click, cart or purchase."""
        return self._bulk(ExperimentsResponse, "GET", f"/v1/experiments?{urlencode({'metric': metric})}", None)

    def inspect_find(self, words: str, count: int = 8) -> FindResponse:
        """Items and shoppers by id or words. All `inspect_…` methods need the scope `admin`."""
        return self._bulk(FindResponse, "GET", f"/v1/inspect/find?{urlencode({'words': words, 'count': count})}", None)

    def inspect_item(self, item_id: str) -> InspectedItem:
        """An item and its neighbours in each vector space."""
        return self._bulk(InspectedItem, "GET", f"/v1/inspect/items/{quote(item_id, safe='')}", None)

    def inspect_shopper(self, user_id: str, count: int = 10) -> InspectedShopper:
        """A shopper's history, and the reasons for their list, which is not recorded."""
        return self._bulk(
            InspectedShopper, "GET", f"/v1/inspect/shoppers/{quote(user_id, safe='')}?count={count}", None
        )

    def inspect_map(self) -> ItemMap:
        """Every item on a map of similar items."""
        return self._bulk(ItemMap, "GET", "/v1/inspect/map", None)

    def release(self) -> ReleaseResponse:
        """The active release."""
        return self._bulk(ReleaseResponse, "GET", "/v1/release", None)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _list(self, path: str, request: Mapping[str, Any], fallback: Sequence[str] | None) -> SlateResponse:
        return self._or_fallback("POST", path, request, fallback)

    def _or_fallback(
        self, method: str, path: str, request: Mapping[str, Any] | None, fallback: Sequence[str] | None
    ) -> SlateResponse:
        try:
            return self._wire.call(SlateResponse, method, path, request, self._list_timeout_s)
        except ProblemError as problem:
            if fallback is None:
                raise
            log.warning("list request failed, showing the fallback path=%s problem=%s", path.partition("?")[0], problem)
            return fallback_list(fallback)

    def _bulk(self, kind: Callable[..., T], method: str, path: str, body: object) -> T:
        return self._wire.call(kind, method, path, body, self._bulk_timeout_s)


def _of_item(item_id: str) -> str:
    return f"/v1/items/{quote(item_id, safe='')}"
