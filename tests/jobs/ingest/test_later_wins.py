"""Files, changes sent to the service, nights and undone ingests in any order: what arrives later wins, by field."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import hypothesis
from hypothesis import strategies as st

from features.live.database import open_live_database
from features.live.item_changes import ItemChange, ItemChanges
from jobs.ingest.commit import RangeTaken, source_of
from jobs.ingest.files import ingest
from jobs.ingest.item_changes import ingest_items
from jobs.ingest.sources.spec import SourceSpec
from jobs.ingest.undo import take_again, undo
from jobs.lake.lake import Lake
from recsys.config import IngestSettings, Settings
from recsys.workspace import Workspace

NOW: Final = datetime(2024, 6, 1, tzinfo=UTC)
FIELDS: Final = ("title", "price", "brand", "available")

Row = Mapping[str, Any]
Catalog = dict[str, dict[str, Any]]


@dataclass
class Model:
    """What the lake should hold. versions: of the last PUT of a field, with its value; taken: version read so far;
    before: of each ingest, the catalogue that it found and what it did."""

    catalog: Catalog = field(default_factory=dict)
    version: int = 0
    taken: int = 0
    puts: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    before: dict[int, tuple[Catalog, Callable[[], None]]] = field(default_factory=dict)

    def put(self, item_id: str, fields: Row) -> None:
        self.version += 1
        self.puts |= {(item_id, name): (self.version, value) for name, value in fields.items()}

    def take_puts(self, after: int, up_to: int) -> None:
        for (item_id, name), (version, value) in self.puts.items():
            if after < version <= up_to:
                self._item(item_id)[name] = value

    def take_file(self, rows: list[tuple[str, Row]]) -> None:
        for item_id, fields in rows:
            self._item(item_id).update(fields)

    def _item(self, item_id: str) -> dict[str, Any]:
        return self.catalog.setdefault(item_id, dict.fromkeys(FIELDS) | {"available": True})


@dataclass
class Shop:
    """The product beside its model."""

    workspace: Workspace
    model: Model = field(default_factory=Model)
    n_files: int = 0
    _done: list[tuple[Catalog, Callable[[], None]]] = field(default_factory=list)

    def put(self, item_id: str, fields: Row) -> None:
        self._with_changes(lambda changes: changes.put([ItemChange(item_id, fields)], NOW))
        self.model.put(item_id, fields)

    def delete(self, item_id: str) -> None:
        self._with_changes(lambda changes: changes.put([ItemChange(item_id, {"available": False}, deleted=True)], NOW))
        self.model.put(item_id, {"available": False})

    def night(self) -> None:
        if self.model.catalog:
            self._do(self._take_new)
        self._with_changes(lambda changes: ingest_items(self.workspace, changes, IngestSettings(), NOW))
        self._note()

    def file(self, rows: list[tuple[str, Row]]) -> None:
        self.n_files += 1
        path = self.workspace.root.parent / f"{self.n_files}.csv"
        lines = [",".join(["item_id", *FIELDS, "number"])]  # the number makes each file another
        for item_id, fields in rows:
            cells = ["" if fields.get(name) is None else str(fields[name]) for name in FIELDS]
            lines.append(",".join([item_id, *cells, str(self.n_files)]))
        path.write_text("\n".join(lines) + "\n")
        self._do(self._take_new)
        self._do(lambda: self.model.take_file(rows))
        ingest(self.workspace, SourceSpec("table", {"catalog": (str(path),)}), IngestSettings(), NOW)
        self._note()

    def undo_last(self) -> None:
        changes = Lake(self.workspace.lake).history.changes
        if changes:
            undo(self.workspace, [changes[-1].id], Settings(), NOW)
            self.model.catalog = copy.deepcopy(self.model.before[changes[-1].id][0])

    def again(self) -> None:
        undone = Lake(self.workspace.lake).history.undone
        if undone:
            if not isinstance(source_of(undone[-1]), RangeTaken):
                self._do(self._take_new)
            self._do(self.model.before[undone[-1].id][1])
            take_again(self.workspace, undone[-1].id, Settings(), NOW)
            self._note()

    def _take_new(self) -> None:
        self.model.take_puts(self.model.taken, self.model.version)
        self.model.taken = self.model.version

    def _do(self, work: Callable[[], None]) -> None:
        self._done.append((copy.deepcopy(self.model.catalog), self._repeatable(work)))
        work()

    def _repeatable(self, work: Callable[[], None]) -> Callable[[], None]:
        if work != self._take_new:
            return work
        after, up_to = self.model.taken, self.model.version
        return lambda: self.model.take_puts(after, up_to)

    def _note(self) -> None:
        """Which ingest of the lake's history did which of the things that were just done."""
        new = [change for change in Lake(self.workspace.lake).history.changes if change.id not in self.model.before]
        for change in new:  # an ingest that changes nothing may leave no entry
            is_of_puts = isinstance(source_of(change), RangeTaken)
            self.model.before[change.id] = self._done[0] if is_of_puts else self._done[-1]
        self._done.clear()

    def _with_changes(self, work: Callable[[ItemChanges], object]) -> None:
        database = open_live_database(self.workspace, "")
        work(ItemChanges(database))
        database.close()

    def catalog(self) -> Catalog:
        rows = Lake(self.workspace.lake).scan("catalog").collect().to_dicts()
        return {row["item_id"]: {name: row[name] for name in FIELDS} for row in rows}


ITEMS = st.sampled_from("ab")
VALUES = {
    "title": st.sampled_from(["Mug", "Lamp"]),
    "price": st.sampled_from([1.0, 2.0]),
    "brand": st.sampled_from(["Clay", "Ridge"]),
    "available": st.booleans(),
}
GIVEN = st.fixed_dictionaries({}, optional=VALUES)
CLEARED = st.sampled_from([{"title": None}, {"price": None, "brand": None}])
PUTS = st.tuples(st.just("put"), ITEMS, st.one_of(GIVEN.filter(bool), CLEARED))
FILES = st.tuples(st.just("file"), st.lists(st.tuples(ITEMS, GIVEN), min_size=1, max_size=3))
OTHERS = st.tuples(st.sampled_from(["night", "undo_last", "again"]))
STEPS = st.one_of(PUTS, FILES, OTHERS, st.tuples(st.just("delete"), ITEMS))


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.lists(STEPS, max_size=9))
def test_the_lake_holds_what_arrived_last_field_by_field(steps: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder, "shop"))
        workspace.root.mkdir()
        shop = Shop(workspace)
        for name, *arguments in steps:
            getattr(shop, name)(*arguments)
            assert shop.catalog() == shop.model.catalog
