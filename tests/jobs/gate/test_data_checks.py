"""Warnings and stops of the data checks: shops of 2,000 events a day, computed by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from jobs.gate.data_checks import Arrivals, NewData, check_data
from jobs.gate.data_profile import Profile, Texts, Window
from jobs.gate.findings import Finding, stops, warnings
from jobs.gate.served_auc import ServedAuc
from recsys.config import ChecksSettings

NIGHT = datetime(2026, 3, 10, tzinfo=UTC)
ENGLISH = {"e": 0.5, "t": 0.3, "a": 0.2}
SEARCHES = Texts(200, math.log(20.0), 0.5, ENGLISH, {"LATIN": 1.0})
DAY = Profile(
    n_events=2000,
    n_of_user=40,
    n_with_item=1800,
    n_unknown_items=18,
    n_repeated=4,
    n_by_type={"view": 1400, "cart": 300, "purchase": 100, "search": 200},
    n_paid=100,
    log_paid=math.log(30.0),
    searches=SEARCHES,
)
ITEMS = pl.DataFrame(
    {"item_id": [f"i{row}" for row in range(200)], "price": [float(row + 1) for row in range(200)], "available": True}
)


def usual_days() -> list[Profile]:
    """Seven days that differ by up to a tenth in how much happened."""
    return [of_events(2000 + 30 * (day - 3), n_of_user=40 + day) for day in range(7)]


def of_events(n_events: int, **changes: object) -> Profile:
    """A day of so many events in the usual mix."""
    mix = {name: n_events * count // 2000 for name, count in DAY.n_by_type.items()}
    return replace(DAY, n_events=n_events, n_by_type=mix, **changes)  # type: ignore[arg-type]


def new_data(new: Profile = DAY, **changes: object) -> NewData:
    data = NewData(
        window=Window(NIGHT - timedelta(days=1), NIGHT),
        new=new,
        days=usual_days(),
        arrivals=Arrivals(n_read=2000),
        quarantined=[0.0] * 5,
        before=ITEMS,
        after=ITEMS,
        served_auc=ServedAuc(0.81, 0.01, 300),
        usual_auc=ServedAuc(0.8, 0.01, 300),
    )
    return replace(data, **changes)  # type: ignore[arg-type]


def named(findings: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in findings]


def test_usual_data_has_no_warnings() -> None:
    findings = check_data(new_data(), ChecksSettings())
    assert not stops(findings)
    assert not warnings(findings)
    assert {"volume", "top user share", "event mix", "price level", "purchase value", "served AUC"} <= set(
        named(findings)
    )
    assert all(finding.low <= finding.value <= finding.high for finding in findings)


@pytest.mark.parametrize(
    ("changes", "warned", "stopped"),
    [
        ({"n_events": 900}, ["volume"], []),
        ({"n_events": 350}, [], ["volume"]),
        ({"n_events": 12_000}, [], ["volume"]),
        ({"n_of_user": 300}, ["top user share"], []),
        ({"n_of_user": 700}, [], ["top user share"]),
        ({"n_unknown_items": 180}, ["unknown items"], []),
        ({"n_unknown_items": 900}, [], ["unknown items"]),
        ({"n_repeated": 100}, ["repeated events"], []),
        ({"n_repeated": 500}, [], ["repeated events"]),
        ({"n_by_type": {"view": 1100, "cart": 300, "purchase": 400, "search": 200}}, ["event mix"], []),
        ({"n_by_type": {"view": 400, "cart": 300, "purchase": 1100, "search": 200}}, [], ["event mix"]),
        ({"log_paid": math.log(60.0)}, ["purchase value"], []),
        ({"log_paid": math.log(3000.0)}, [], ["purchase value"]),
        ({"searches": replace(SEARCHES, log_length=math.log(40.0))}, ["length of searches"], []),
        ({"searches": replace(SEARCHES, log_length=math.log(2.0))}, [], ["length of searches"]),
        ({"searches": replace(SEARCHES, letters=ENGLISH | {"e": 0.3, "ß": 0.2})}, ["letter mix of searches"], []),
        ({"searches": replace(SEARCHES, scripts={"CJK": 1.0})}, [], ["script mix of searches"]),
    ],
)
def test_a_change_is_a_warning_and_a_large_one_stops_the_run(
    changes: dict[str, object], warned: list[str], stopped: list[str]
) -> None:
    new = of_events(changes["n_events"]) if "n_events" in changes else replace(DAY, **changes)  # type: ignore[arg-type]
    findings = check_data(new_data(new), ChecksSettings())
    assert named(warnings(findings)) == warned
    assert named(stops(findings)) == stopped


def test_prices_a_hundredfold_stop_the_run_and_a_sale_does_not() -> None:
    times = ITEMS.with_columns(pl.col("price") * 100)
    assert named(stops(check_data(new_data(after=times), ChecksSettings()))) == ["price level", "price jumps"]
    a_third = pl.when(pl.int_range(pl.len()) < 70)
    some = ITEMS.with_columns(a_third.then(pl.col("price") * 100).otherwise(pl.col("price")))
    assert named(stops(check_data(new_data(after=some), ChecksSettings()))) == ["price jumps"]
    sale = ITEMS.with_columns(a_third.then(pl.col("price") * 0.5).otherwise(pl.col("price")))
    assert not stops(check_data(new_data(after=sale), ChecksSettings()))


def test_a_catalogue_cut_in_two_stops_the_run() -> None:
    (finding,) = stops(check_data(new_data(after=ITEMS.head(90)), ChecksSettings()))
    assert finding.line() == (
        "unavailable items: 55.0% of 200 available items became unavailable (expected at most 0.1); "
        "check whether the catalogue file is complete"
    )


def test_mixed_up_ids_lower_the_auc_of_the_served_release() -> None:
    chance = ServedAuc(0.5, 0.015, 300)
    assert named(stops(check_data(new_data(served_auc=chance), ChecksSettings()))) == ["served AUC"]
    warned = warnings(check_data(new_data(served_auc=replace(chance, value=0.7)), ChecksSettings()))
    assert named(warned) == ["served AUC"]


@pytest.mark.parametrize(
    ("measured", "usual"),
    [
        (ServedAuc(0.5, 0.2, 300), ServedAuc(0.8, 0.01, 300)),  # by chance
        (ServedAuc(0.5, 0.01, 300), ServedAuc(0.52, 0.01, 300)),  # where little was known anyway
        (None, ServedAuc(0.8, 0.01, 300)),
        (ServedAuc(0.5, 0.01, 300), None),
    ],
)
def test_an_auc_that_proves_nothing_stops_nothing(measured: ServedAuc | None, usual: ServedAuc | None) -> None:
    assert not stops(check_data(new_data(served_auc=measured, usual_auc=usual), ChecksSettings()))


def test_weekends_are_usual() -> None:
    """Of four weeks with three times as much on Saturdays and Sundays, another such day says nothing."""
    days = [of_events(6000 if day % 7 >= 5 else 2000) for day in range(28)]
    assert not warnings(check_data(new_data(of_events(6100), days=days), ChecksSettings()))


def test_a_window_of_three_days_is_counted_by_the_day() -> None:
    window = Window(NIGHT - timedelta(days=3), NIGHT)
    findings = check_data(new_data(of_events(6000), window=window), ChecksSettings())
    assert "volume" not in named([*stops(findings), *warnings(findings)])


def test_a_small_shop_differs_by_chance() -> None:
    """A dozen events a day, all of one shopper on the new day, tell nothing."""
    day = Profile(n_events=12, n_of_user=6, n_with_item=11, n_by_type={"view": 12})
    new = Profile(n_events=30, n_of_user=30, n_with_item=30, n_unknown_items=9, n_by_type={"purchase": 30})
    few = new_data(new, days=[day] * 20, before=ITEMS.head(10), after=ITEMS.head(1), arrivals=Arrivals(30, 2))
    assert not stops(check_data(few, ChecksSettings()))


def test_days_that_are_too_few_are_not_compared_with() -> None:
    findings = check_data(new_data(of_events(50_000), days=usual_days()[:2]), ChecksSettings())
    assert "volume" not in named(findings)


def test_one_forced_day_does_not_make_the_next_of_its_kind_usual() -> None:
    spam = of_events(20_000, n_of_user=18_000)
    findings = check_data(new_data(spam, days=[*([DAY] * 27), spam]), ChecksSettings())
    assert {"volume", "top user share"} <= set(named(stops(findings)))


def test_missing_events_are_a_warning_and_late_ones_stop_the_run() -> None:
    findings = check_data(new_data(arrivals=Arrivals(2000, hours_stalled=40.0)), ChecksSettings())
    assert named(warnings(findings)) == ["freshness"]
    late = check_data(new_data(arrivals=Arrivals(2000, hours_stalled=300.0)), ChecksSettings())
    assert named(stops(late)) == ["freshness"]
    nothing = check_data(new_data(arrivals=Arrivals(0, hours_stalled=300.0)), ChecksSettings())
    assert named(warnings(nothing)) == ["freshness"]


def test_bad_rows_are_judged_from_the_first_run_on() -> None:
    findings = check_data(new_data(arrivals=Arrivals(2000, 300), quarantined=[]), ChecksSettings())
    assert named(stops(findings)) == ["quarantined"]


def test_limits_of_the_shop_count() -> None:
    settings = ChecksSettings.model_validate({"volume": {"warn": 10.0, "stop": 20.0}})
    assert not warnings(check_data(new_data(of_events(12_000)), settings))
