"""How well catalogue, events and reviews of a small shop fit together, counted by hand."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.gate.coverage_check import check_coverage, refuse_without_matches
from jobs.ingest.files import IngestReport
from jobs.lake.coverage import coverage
from jobs.lake.lake import Lake
from recsys.errors import GateError
from recsys.workspace import Workspace

CATALOG = "item_id,title,price,category\nlamp,Lamp,5,Home\nrug,Rug,,\nvase,,,\nmug,,7,Home\n"
EVENTS = """user_id,item_id,event_type,timestamp,text
u,lamp,view,2024-01-01,
u,SKU-2,view,2024-01-01,
v,SKU-2,cart,2024-01-01,
v,SKU-1,cart,2024-01-01,
v,,search,2024-01-01,a lamp
u,lamp,view,2024-02-01,
"""
REVIEWS = "user_id,item_id,rating,timestamp\nu,rug,4,2024-01-01\n"
LATER = datetime(2024, 3, 1, tzinfo=UTC)

WriteFile = Callable[[str, str], Path]
IngestTable = Callable[..., IngestReport]


@pytest.fixture
def lake(workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable) -> Lake:
    files = {"catalog": CATALOG, "events": EVENTS, "reviews": REVIEWS}
    ingest_table(**{table: write_file(f"{table}.csv", text) for table, text in files.items()})
    return Lake(workspace.lake)


def test_shares_and_examples_of_both_sides(lake: Lake) -> None:
    covered = coverage(lake)
    assert covered is not None
    assert (covered.n_items, covered.n_titles, covered.n_prices, covered.n_categories) == (4, 2, 2, 2)
    assert (covered.n_events, covered.n_matched_events) == (5, 2)
    assert (covered.n_reviews, covered.n_matched_reviews) == (1, 1)
    assert (covered.matched_share, covered.lowest_share) == (0.5, 0.4)
    assert (covered.unknown_ids, covered.silent_ids) == (("SKU-2", "SKU-1"), ("mug", "vase"))
    assert covered.line() == (
        "catalogue: 4 items, with 50% title, 50% price, 50% category; it has the items of 40% of 5 events and "
        "100% of 1 reviews"
    )
    assert covered.examples() == "not in the catalogue: SKU-2, SKU-1; only in the catalogue: mug, vase"


def test_what_happened_later_does_not_count(lake: Lake) -> None:
    covered = coverage(lake, before=datetime(2024, 1, 15, tzinfo=UTC))
    assert covered is not None
    assert (covered.n_events, covered.n_matched_events) == (4, 1)


def test_without_a_catalogue_nothing_is_checked(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(events=write_file("e.csv", EVENTS))
    assert coverage(Lake(workspace.lake)) is None
    assert check_coverage(Lake(workspace.lake), LATER, 0.5) == []


def test_a_catalogue_alone_is_no_problem(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(catalog=write_file("c.csv", CATALOG))
    covered = coverage(Lake(workspace.lake))
    assert covered is not None and covered.lowest_share == 1.0
    assert covered.line() == "catalogue: 4 items, with 50% title, 50% price, 50% category"


@pytest.mark.parametrize(("min_share", "severity"), [(0.5, "ok"), (0.6, "stop")])
def test_too_few_matches_stop_a_night(lake: Lake, min_share: float, severity: str) -> None:
    (finding,) = check_coverage(lake, LATER, min_share)
    assert (finding.name, finding.value, finding.low, finding.severity) == ("matched items", 0.5, min_share, severity)
    assert ("SKU-2, SKU-1" in finding.line()) == (severity == "stop") == bool(finding.remedy)
    assert check_coverage(lake, LATER, 0.0) == []


def test_the_refusal_names_examples(lake: Lake) -> None:
    with pytest.raises(GateError, match="not even with --force") as refused:
        refuse_without_matches(lake, LATER)
    assert "SKU-2" in str(refused.value)
