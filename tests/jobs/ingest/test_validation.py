from datetime import UTC, datetime

import polars as pl
import pytest

from jobs.ingest.parsing import cast_rows
from jobs.ingest.validation import check_rows

LATEST = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("item_id", "(not set)", "item_id|not_an_id"),
        ("item_id", "3.65275E+11", "item_id|excel_number"),
        ("user_id", "NA", "user_id|not_an_id"),
        ("user_id", "", "user_id|nullability"),
        ("item_id", "", "names_an_item_or_a_text"),
        ("timestamp", "soon", "timestamp|dtype"),
    ],
)
def test_a_value_that_cannot_be_parsed_breaks_one_rule(column: str, value: str, rule: str) -> None:
    good = {"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": "2024-01-02"}
    raw = pl.DataFrame([good, good | {column: value}])
    checked = check_rows("events", cast_rows("events", raw, {name: name for name in good}, {}), LATEST)
    assert checked.good.height == 1
    assert (checked.bad_rows, checked.bad_rules) == ((1,), (rule,))
