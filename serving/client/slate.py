"""What a list has beside the fields that the service sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Slate:
    """Base of the generated `SlateResponse`."""

    items: Sequence[Any]

    @property
    def item_ids(self) -> list[str]:
        """The ids of the items, best first."""
        return [item.item_id for item in self.items]
