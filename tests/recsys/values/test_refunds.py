import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recsys.tables import EVENT_TYPES
from recsys.values.refunds import refunded, with_refunds

VALUES = st.one_of(st.none(), st.floats(-100, 100))


@given(st.lists(st.tuples(st.sampled_from(EVENT_TYPES), VALUES), max_size=20))
def test_a_table_and_a_single_event_are_read_alike(events: list[tuple[str, float | None]]) -> None:
    schema = {"event_type": pl.Enum(EVENT_TYPES), "value": pl.Float64}
    rows = with_refunds(pl.DataFrame(events, schema=schema, orient="row")).rows()
    assert rows == [refunded(*event) for event in events]


def test_a_negative_purchase_is_a_return_of_its_amount() -> None:
    assert refunded("purchase", -5.0) == ("return", 5.0)
    assert refunded("purchase", 5.0) == ("purchase", 5.0)
    assert refunded("view", -5.0) == ("view", -5.0)
