import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from recsys.query import Query
from serving.lists.query import known_query_of, query_of
from serving.lists.request import SettledRequest
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import ListRequest

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def query(live: ActiveRelease, max_texts: int = 9, **request: Any) -> Query:
    settled = SettledRequest(ListRequest.model_validate(request), NOW, frozenset(), is_search=False, by_ranker=True)
    query = asyncio.run(query_of(settled, live, max_texts))
    at_once = known_query_of(settled, live, max_texts)  # now that every text is in the cache
    assert at_once is not None and at_once.session == query.session
    return query


def test_what_has_to_be_encoded_first_is_not_known_at_once(live: ActiveRelease) -> None:
    settled = SettledRequest(ListRequest(text="never asked before"), NOW, frozenset(), is_search=False, by_ranker=True)
    assert known_query_of(settled, live, 9) is None
    asyncio.run(query_of(settled, live, 9))
    assert known_query_of(settled, live, 9) is not None


def test_the_request_itself_is_the_moment_from_which_things_are_long_ago(live: ActiveRelease) -> None:
    assert query(live, user_id="ann").asked_at == NOW


def test_an_event_without_a_time_or_from_the_future_happens_now(live: ActiveRelease) -> None:
    later = (NOW + timedelta(days=1)).isoformat()
    earlier = NOW - timedelta(days=1)
    session = [
        {"item_id": "boot"},
        {"item_id": "sock", "timestamp": later},
        {"item_id": "rug", "timestamp": earlier.isoformat()},
    ]
    assert [signal.timestamp for signal in query(live, session=session).session] == [NOW, NOW, earlier]


def test_an_event_is_a_view_and_a_text_alone_a_search_unless_it_says_otherwise(live: ActiveRelease) -> None:
    session = [{"item_id": "boot"}, {"text": "shoes"}, {"item_id": "sock", "event_type": "cart", "text": "clothes"}]
    signals = query(live, session=session).session
    assert [signal.event_type for signal in signals] == ["view", "search", "cart"]
    assert [None if signal.text_vector is None else signal.text_vector.tolist() for signal in signals] == [
        None,
        [1, 0, 0],
        [0, 1, 0],
    ]


def test_of_many_texts_the_newest_are_read_and_the_request_own_always(live: ActiveRelease) -> None:
    session = [{"text": "shoes"}, {"text": "clothes", "item_id": "coat"}, {"text": "home"}]
    read = query(live, max_texts=1, session=session, text="shoes")
    assert [(signal.item_id, signal.text_vector is None) for signal in read.session] == [("coat", True), (None, False)]
    assert read.text_vector is not None and read.text_vector.tolist() == [1, 0, 0]
