"""The other ids of an item: SKUs, ids of its variants, handles. Orders and pixels may use any of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from jobs.ingest.sources.records import Notes, Row

_EXCEL_NUMBER: Final = re.compile(r"\d(?:\.\d+)?[eE]\+\d+")
"""A long number as a spreadsheet shows it; its last digits are lost."""


def is_rounded(sku: str) -> bool:
    """Whether an id is a number that a spreadsheet has shortened."""
    return _EXCEL_NUMBER.fullmatch(sku) is not None


class Aliases:
    """Collects alias -> item while a file is read. An alias of two items names neither and is counted."""

    def __init__(self) -> None:
        self._items: dict[str, str] = {}
        self._titles: dict[str, str] = {}
        self._ambiguous: set[str] = set()

    def add(self, alias: str, item_id: str) -> None:
        """Blank ones, the item's id itself, and numbers that a spreadsheet has rounded are ignored."""
        alias = alias.strip().lstrip("'")
        if not alias or alias == item_id or is_rounded(alias):
            return
        if self._items.setdefault(alias, item_id) != item_id:
            self._ambiguous.add(alias)

    def add_title(self, alias: str, item_id: str) -> None:
        """An alias for shops that use no SKUs: it only counts where no other alias was added."""
        self._titles.setdefault(alias, item_id)

    def rows(self, notes: Notes, number: int) -> Iterator[Row]:
        """Rows of the table `aliases`, to be yielded at the end of the file. number: the file's last row."""
        for alias, item_id in (self._items or self._titles).items():
            if alias not in self._ambiguous:
                yield Row("aliases", number, {"alias": alias, "item_id": item_id})
        notes["aliases of several items, not used"] += len(self._ambiguous)
