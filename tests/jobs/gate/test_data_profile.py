"""A lake of four days, counted by hand."""

import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from jobs.gate.data_profile import Window, mean_shares, profiles, total_variation
from jobs.lake.lake import Lake
from recsys.workspace import Workspace

END = datetime(2024, 5, 5, tzinfo=UTC)
HEADER = "event_id,user_id,item_id,event_type,timestamp,text,value\n"


def test_new_events_and_the_days_before_are_counted(workspace: Workspace, write_file, ingest_table) -> None:
    rows = [
        "a,ann,kettle,view,2024-05-02T10:00:00,,",
        "b,ann,kettle,purchase,2024-05-02T11:00:00,,20",
        "c,bob,lamp,view,2024-05-03T10:00:00,,",
        "d,ann,kettle,view,2024-05-04T10:00:00,,",
        "e,ann,kettle,view,2024-05-04T10:00:00,,",  # d again under another id
        "f,ann,ghost,view,2024-05-04T11:00:00,,",
        "g,bob,,search,2024-05-04T12:00:00,чай,",
        "h,bob,lamp,purchase,2024-05-04T13:00:00,,80",
        "i,bob,lamp,view,2024-05-05T00:00:00,,",  # of the next run
    ]
    events = write_file("events.csv", HEADER + "\n".join(rows))
    stars = "review_id,user_id,item_id,rating,title,text,timestamp\nr,cat,lamp,5,,bright,2024-05-04T09:00:00\n"
    ingest_table(events=events, reviews=write_file("reviews.csv", stars))
    window = Window.since(END - timedelta(hours=3), END)
    new, days = profiles(Lake(workspace.lake), window, pl.Series(["kettle", "lamp"]), n_days=2)
    assert window.days == 1.0
    assert (new.n_events, new.n_of_user, new.n_with_item, new.n_unknown_items) == (6, 3, 5, 1)
    assert new.n_repeated == 1
    assert new.n_by_type == {"purchase": 1, "rating": 1, "search": 1, "view": 3}
    assert (new.n_paid, math.exp(new.log_paid)) == (1, pytest.approx(80.0))
    assert new.searches.scripts == {"CYRILLIC": 1.0}
    assert math.exp(new.searches.log_length) == pytest.approx(3.0)
    assert new.reviews.letters["b"] == pytest.approx(1 / 6)
    assert [day.n_events for day in days] == [2, 1]
    assert math.isnan(days[1].log_paid)


def test_without_a_catalogue_no_item_is_unknown(workspace: Workspace, write_file, ingest_table) -> None:
    events = write_file("events.csv", HEADER + "a,ann,kettle,view,2024-05-04T10:00:00,,\n")
    ingest_table(events=events)
    new, days = profiles(Lake(workspace.lake), Window.since(END, END), None, n_days=5)
    assert (new.n_events, new.n_unknown_items, days) == (1, 0, [])


def test_a_window_reaches_back_to_the_last_run() -> None:
    assert Window.since(END - timedelta(days=3), END).days == 3.0


def test_distributions_differ_by_what_lies_elsewhere() -> None:
    assert total_variation({"a": 0.75, "b": 0.25}, {"b": 0.5, "c": 0.5}) == pytest.approx(0.75)
    assert mean_shares([{"a": 1.0}, {"b": 1.0}]) == {"a": 0.5, "b": 0.5}
