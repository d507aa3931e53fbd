from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import DataError
from recsys.values.times import DateOrder, DateOrderEvidence, in_zone, means_no_time, parse_times

MOMENT = datetime(2023, 12, 21, 16, 5, 9, tzinfo=UTC)


def parsed(value: Any, order: DateOrder | None = None) -> datetime | None:
    (time,) = parse_times(pl.Series([value]), order)
    assert time is None or isinstance(time, datetime)
    return time


@pytest.mark.parametrize(
    "text",
    [
        "2023-12-21 16:05:09 UTC",
        "2023-12-21 16:05:09.000000 UTC",
        "2023-12-21 16:05:09.000000001 +0000 UTC",
        "2023-12-21 18:05:09.000000001 +0200 CEST",
        "2023-12-21T16:05:09.123Z",
        "2023-12-21 11:05:09 -0500",
        "2023/12/21 16:05:09",
        "20231221T160509Z",
        "20231221160509",
        "Thu, 21 Dec 2023 16:05:09 GMT",
        "Thu, 21 Dec 2023 11:05:09 -0500",
        "Thu, 21 Dec 2023 11:05:09 EST",
        "21 Dec 2023 16:05:09",
        "December 21, 2023 4:05:09 PM",
        "Dec 21, 2023, 4:05:09 p.m.",
        "Dec 21st, 2023 at 4:05:09 pm",
        "Thu Dec 21 2023 17:05:09 GMT+0100 (CET)",
        "21.12.2023 16:05:09",
        "21/12/2023 16:05:09",
        "12/21/23 4:05:09 PM",
    ],
)
def test_a_moment_is_read_in_every_spelling(text: str) -> None:
    time = parsed(text)
    assert time is not None
    assert time.replace(microsecond=0) == MOMENT


@pytest.mark.parametrize(
    "text",
    ["Dec 21, 2023", "21 December 2023", "21.12.2023", "21.12.23", "21/12/2023", "12-21-2023", "21-Dec-23", "20231221"],
)
def test_a_day_is_its_midnight_in_utc(text: str) -> None:
    assert parsed(text) == datetime(2023, 12, 21, tzinfo=UTC)


def test_an_offset_needs_no_seconds_before_it() -> None:
    assert parsed("2020-04-30T09:30-08:00") == datetime(2020, 4, 30, 17, 30, tzinfo=UTC)


@pytest.mark.parametrize(("order", "month", "day"), [("mdy", 12, 1), ("dmy", 1, 12)])
def test_the_order_of_day_and_month_is_given(order: DateOrder, month: int, day: int) -> None:
    assert parsed("12/1/10 8:26", order) == datetime(2010, month, day, 8, 26, tzinfo=UTC)


def test_without_an_order_a_date_that_may_be_either_is_not_read() -> None:
    assert parsed("12/1/10 8:26") is None
    assert parsed("12/12/2010") == datetime(2010, 12, 12, tzinfo=UTC)


def test_a_date_that_the_order_does_not_allow_is_not_read() -> None:
    assert parsed("13/12/2010", "mdy") is None


@pytest.mark.parametrize(
    ("text", "hour"), [("1/13/2020 12:05 AM", 0), ("1/13/2020 12:05 PM", 12), ("1/13/2020 1:05 pm", 13)]
)
def test_hours_of_the_half_day(text: str, hour: int) -> None:
    assert parsed(text) == datetime(2020, 1, 13, hour, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0001-01-01 00:00:00 +0000 UTC", "0001-01-01T00:00:00Z", "0000-00-00 00:00:00"])
def test_the_years_0_and_1_mean_no_time(text: str) -> None:
    assert parsed(text) is None
    assert means_no_time(pl.Series([text])).to_list() == [True]


@pytest.mark.parametrize("text", ["28 Feb", "30.2.2020", "2023-12-21 10:00 XYZ", "soon", "", "2023-13-01"])
def test_what_is_no_time_is_null(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize(
    "value", [20231221, date(2023, 12, 21), datetime(2023, 12, 21), 1_703_116_800, 1_703_116_800_000]
)
def test_typed_columns_hold_dates_and_epochs(value: Any) -> None:
    assert parsed(value) == datetime(2023, 12, 21, tzinfo=UTC)


def test_seconds_in_32_bits_do_not_overflow() -> None:
    for dtype in (pl.Int32, pl.UInt32):
        (time,) = parse_times(pl.Series([1_703_116_800], dtype=dtype))
        assert time == datetime(2023, 12, 21, tzinfo=UTC)


FORMATS = (
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d.%m.%Y %H:%M:%S %z",
    "%B %d, %Y %I:%M:%S %p %z",
)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)).map(lambda time: time.replace(microsecond=0)),
    st.integers(-12, 14),
    st.sampled_from(FORMATS),
)
def test_a_written_time_is_read_back(local: datetime, hours: int, form: str) -> None:
    time = local.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert parsed(time.strftime(form)) == time


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (["3/4/2024", "13/4/2024"], "dmy"),
        (["3/4/2024", "4/13/24 8:26"], "mdy"),
        (["3/3/2024"], "dmy"),
        (["2024-03-04", "4.3.2024", "", None], None),
    ],
)
def test_one_date_above_12_decides_for_the_whole_column(
    dates: list[str | None], order: Literal["dmy", "mdy"] | None
) -> None:
    evidence = DateOrderEvidence()
    for text in dates:
        evidence.add(pl.Series([text], dtype=pl.String))
    assert evidence.decide() == order


def test_dates_that_show_no_order_ask_for_it() -> None:
    evidence = DateOrderEvidence("events.timestamp of orders.csv")
    evidence.add(pl.Series(["3/4/2024", "5/6/2024", "7/7/2024"]))
    with pytest.raises(
        DataError, match=r"events.timestamp of orders.csv: 2 dates such as 3/4/2024 .* --date-order dmy"
    ):
        evidence.decide()


def test_dates_that_contradict_each_other_are_refused() -> None:
    evidence = DateOrderEvidence()
    evidence.add(pl.Series(["13/4/2024", "4/13/2024"]))
    with pytest.raises(DataError, match=r"1 dates have the day first \(13/4/2024\) and 1 the month \(4/13/2024\)"):
        evidence.decide()


def test_a_column_that_is_no_text_shows_no_order() -> None:
    evidence = DateOrderEvidence()
    evidence.add(pl.Series([1, 2]))
    assert evidence.decide() is None


def test_times_without_an_offset_are_of_the_zone_that_is_named() -> None:
    texts = pl.Series(
        [
            *("2026-07-01 09:00:00", "2026-07-01T09:00:00Z", "2026-07-01 09:00:00 UTC", "2026-07-01 09:00+02:00"),
            *("1782896400", "2026-07-01", None, "soon"),
        ]
    )
    read = in_zone(texts, parse_times(texts), "Asia/Tokyo")
    nine = datetime(2026, 7, 1, 9, tzinfo=UTC)
    at_tokyo = datetime(2026, 7, 1, 0, tzinfo=UTC)
    assert read.to_list()[:4] == [at_tokyo, nine, nine, datetime(2026, 7, 1, 7, tzinfo=UTC)]
    assert read.to_list()[4:] == [nine, datetime(2026, 6, 30, 15, tzinfo=UTC), None, None]


def test_an_hour_that_the_clock_leaves_out_or_shows_twice_is_read() -> None:
    texts = pl.Series(["2026-03-29 02:30:00", "2026-10-25 02:30:00"])
    read = in_zone(texts, parse_times(texts), "Europe/Berlin").to_list()
    assert read == [datetime(2026, 3, 29, 1, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


def test_naive_datetimes_are_of_the_zone_and_aware_ones_stay() -> None:
    naive = pl.Series([datetime(2026, 7, 1, 9)])
    aware = naive.dt.replace_time_zone("Europe/Berlin")
    assert in_zone(naive, parse_times(naive), "Asia/Tokyo").to_list() == [datetime(2026, 7, 1, tzinfo=UTC)]
    assert in_zone(aware, parse_times(aware), "Asia/Tokyo").to_list() == [datetime(2026, 7, 1, 7, tzinfo=UTC)]
