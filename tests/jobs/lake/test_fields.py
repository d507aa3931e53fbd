"""Rows of one item become one row: what is blank never replaces a value."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.files import IngestReport
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.workspace import Workspace

WriteFile = Callable[[str, str], Path]
IngestTable = Callable[..., IngestReport]

VARIANTS = """item_id,title,category,price,available,attributes
kettle,Kettle,Kitchen,30,,"{""size"": ""1 l"", ""colour"": ""red""}"
kettle,,,35,false,"{""size"": ""2 l""}"
kettle,,,,,
tray,Tray,,,,
"""


def catalog(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in Lake(workspace.lake).scan("catalog").collect().to_dicts()}


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_rows_of_an_item_give_each_field_its_last_value(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable, batch_rows: int
) -> None:
    settings = IngestSettings(batch_rows=batch_rows)
    path = write_file("c.csv", VARIANTS)
    (table,) = ingest_table(catalog=path, settings=settings).tables
    assert (table.n_read, table.n_new, table.n_updated, table.n_duplicates, table.n_same_item) == (4, 2, 0, 0, 2)
    kettle, tray = catalog(workspace)["kettle"], catalog(workspace)["tray"]
    assert (kettle["title"], kettle["category"], kettle["price"], kettle["available"]) == (
        "Kettle",
        "Kitchen",
        35,
        False,
    )
    assert json.loads(kettle["attributes"]) == {"size": "2 l", "colour": "red"}
    assert (tray["title"], tray["available"], tray["attributes"]) == ("Tray", True, None)
    digest = Lake(workspace.lake).digest()
    for again in (settings, IngestSettings(batch_rows=3)):
        (table,) = ingest_table(catalog=path, settings=again).tables
        assert (table.n_new, table.n_updated, table.n_duplicates, table.n_same_item) == (0, 0, 2, 2)
    assert Lake(workspace.lake).digest() == digest


def test_a_later_file_updates_the_fields_that_it_has(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(catalog=write_file("c.csv", "item_id,title,price,available\nmug,Mug,5,no\n"))
    (table,) = ingest_table(catalog=write_file("p.csv", "item_id,price,brand\nmug,6,Clay\nbowl,7,Clay\n")).tables
    assert (table.n_new, table.n_updated) == (1, 1)
    mug, bowl = catalog(workspace)["mug"], catalog(workspace)["bowl"]
    assert (mug["title"], mug["price"], mug["brand"], mug["available"]) == ("Mug", 6.0, "Clay", False)
    assert (bowl["title"], bowl["available"]) == (None, True)


def test_the_newer_of_two_dated_rows_of_an_ingest_wins_in_whatever_order_they_come(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    header = "item_id,title,price,brand,updated_at\n"
    new, old = "mug,New mug,,,2024-03-01\n", "mug,Old mug,5,Clay,2024-02-01\n"
    (table,) = ingest_table(catalog=write_file("both.csv", header + new + old)).tables
    mug = catalog(workspace)["mug"]
    assert (mug["title"], mug["price"], mug["brand"], mug["updated_at"].month) == ("New mug", 5.0, "Clay", 3)
    assert (table.n_new, table.n_updated, table.n_duplicates, table.n_older) == (1, 0, 0, 1)


def test_what_arrives_later_wins_whatever_it_is_dated(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    """Two suppliers date their feeds by clocks of their own."""
    header = "item_id,title,price,updated_at\n"
    ingest_table(catalog=write_file("first.csv", header + "mug,Mug,5,2024-03-01\n"))
    (table,) = ingest_table(catalog=write_file("second.csv", header + "mug,,6,2024-02-01\n")).tables
    mug = catalog(workspace)["mug"]
    assert (mug["title"], mug["price"], table.n_updated, table.n_older) == ("Mug", 6.0, 1, 0)


def test_attributes_of_later_rows_win_key_by_key(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    header = "item_id,attributes\n"
    ingest_table(catalog=write_file("a.csv", header + 'mug,"{""b"": [1, 2], ""a"": ""x""}"\n'))
    ingest_table(catalog=write_file("b.csv", header + 'mug,"{""c"": ""ä"", ""a"": ""y"", ""b"": """"}"\n'))
    assert catalog(workspace)["mug"]["attributes"] == '{"a": "y", "b": [1, 2], "c": "ä"}'
