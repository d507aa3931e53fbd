from datetime import UTC, datetime

import numpy as np

from jobs.simulation.events import events_of
from recsys.simulate import Truth
from recsys.simulate.visitors import Choices, Visits
from serving.schemas.events import EventBatch, ShopEvent

AT = datetime(2025, 6, 1, 12, tzinfo=UTC)
TRUTH = Truth(
    user_ids=np.array(["ann", "bob"]),
    item_ids=np.array(["desk-1", "desk-2", "lamp-1"]),
    **{name: np.zeros(0) for name in Truth.__dataclass_fields__ if name not in ("user_ids", "item_ids")},
)
NONE = np.zeros((2, 3), np.float32)
VISITS = Visits(
    user_rows=np.array([1, 0]),
    started=np.array([int(AT.timestamp() * 1e6)] * 2),
    n_places=np.array([3, 2]),
    liking=NONE,
    appetite=NONE,
    click_luck=NONE,
    cart_luck=NONE,
    pay_luck=NONE,
)
CHOICES = Choices(
    rows=np.array([[2, 0, 1], [1, -1, -1]]),
    is_seen=np.array([[True, True, True], [True, False, False]]),
    is_clicked=np.array([[True, False, True], [False, False, False]]),
    is_carted=np.array([[True, False, True], [False, False, False]]),
    is_bought=np.array([[False, False, True], [False, False, False]]),
)
PRICES = np.array([10.0, 20.0, 30.0])


def test_what_a_visit_tells_in_order() -> None:
    events = events_of(TRUTH, VISITS, CHOICES, PRICES, ["list-b", "list-a"], "sim-0-001")
    of_bob = [event for event in events if event["user_id"] == "bob"]
    assert [(event["event_type"], event["item_id"], event["position"]) for event in of_bob] == [
        ("impression", "lamp-1", 0),
        ("impression", "desk-1", 1),
        ("impression", "desk-2", 2),
        ("view", "lamp-1", 0),
        ("cart", "lamp-1", 0),
        ("view", "desk-2", 2),
        ("cart", "desk-2", 2),
        ("purchase", "desk-2", 2),
    ]
    assert of_bob[-1]["value"] == 20.0
    assert {event["recommendation_id"] for event in of_bob} == {"list-b"}
    times = [datetime.fromisoformat(event["timestamp"]) for event in of_bob]
    assert times == sorted(times) and times[0] > AT
    assert [event["event_type"] for event in events if event["user_id"] == "ann"] == ["impression"]


def test_ids_are_distinct_and_the_same_again() -> None:
    def ids() -> list[str]:
        return [event["event_id"] for event in events_of(TRUTH, VISITS, CHOICES, PRICES, ["b", "a"], "sim-0-001")]

    assert ids() == ids() and len(set(ids())) == len(ids())


def test_the_service_takes_them_as_they_are() -> None:
    batch = EventBatch.model_validate({"events": events_of(TRUTH, VISITS, CHOICES, PRICES, ["b", "a"], "sim-0-001")})
    assert all(isinstance(event, ShopEvent) for event in batch.events)
