"""The item map as a self-contained HTML page: WebGL, no library, no network access."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from features.item_map.palette import palette

KINDS: Final = ("item", "review", "search", "query")
MAX_TEXT_CHARS: Final = 160
WEB: Final = Path(__file__).parent / "web"


@dataclass(frozen=True)
class Atlas:
    """A map of points.

    points: kind (one of `KINDS`), id, text, group, x, y between 0 and 1; clusters: x, y, n, words; legend: the groups
    in the order of their colours.
    """

    title: str
    points: pl.DataFrame
    clusters: pl.DataFrame
    legend: tuple[str, ...]

    def html(self) -> str:
        """The page. Drag or use arrow keys to pan, use the wheel or + and - to zoom, hover over a point to read its
        text, click the legend to switch groups, type words to highlight the points that contain them."""
        page, script = _web("atlas.html"), _web("point_map.js") + _web("atlas.js")
        data = json.dumps(self._data(), ensure_ascii=False).replace("</", "<\\/")
        return page.replace("__TITLE__", escape(self.title)).replace("__DATA__", data).replace("__SCRIPT__", script)

    def save(self, path: str | Path) -> Path:
        """Write the page to a file that any browser can open, and return its path."""
        Path(path).write_text(self.html(), encoding="utf-8")
        return Path(path)

    def __repr__(self) -> str:
        named = ", ".join(word for word in self.clusters.sort("n", descending=True)["words"].head(6) if word)
        return (
            f"{self.title}\n{len(self.points):,} points; largest clusters: {named}\n"
            "call .save('atlas.html') to write the map to a page"
        )

    def _repr_html_(self) -> str:
        return framed(self.html(), self.title)

    def _data(self) -> dict[str, Any]:
        at = {name: place for place, name in enumerate(self.legend)}
        groups = [at.get(name, 255) for name in self.points["group"]]
        kinds = [KINDS.index(kind) for kind in self.points["kind"]]
        places = self.points.select("x", "y").to_numpy()
        texts = [text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + "…" for text in self.points["text"]]
        return {
            "xy": _base64(np.round(np.clip(places, 0, 1) * 65535).astype("<u2")),
            "group": _base64(np.array(groups, dtype=np.uint8)),
            "kind": _base64(np.array(kinds, dtype=np.uint8)),
            "text": texts,
            "id": self.points["id"].to_list(),
            "legend": [
                {"name": name, "colour": colour} for name, colour in zip(self.legend, self.colours, strict=True)
            ],
            "clusters": self.clusters.select("x", "y", "n", "words").to_dicts(),
        }

    @property
    def colours(self) -> list[str]:
        """Colours of the legend's groups, in its order."""
        return palette(self.legend)


def side_by_side(atlases: Sequence[Atlas], note: str = "") -> SideBySide:
    """Maps in one row for comparison; note: a sentence below them."""
    return SideBySide(tuple(atlases), note)


@dataclass(frozen=True)
class SideBySide:
    """Several maps in one row."""

    atlases: tuple[Atlas, ...]
    note: str

    def __repr__(self) -> str:
        return "\n".join([*(atlas.title for atlas in self.atlases), self.note])

    def _repr_html_(self) -> str:
        frames = "".join(
            f'<div style="flex:1;min-width:300px">{framed(a.html(), a.title, 480)}</div>' for a in self.atlases
        )
        return f'<div style="display:flex;gap:8px;flex-wrap:wrap">{frames}</div><p>{escape(self.note)}</p>'


def framed(page: str, title: str, height: int = 640) -> str:
    """The page in an iframe, so that its scripts and styles do not affect the notebook's."""
    return (
        f'<iframe title="{escape(title)}" style="width:100%;height:{height}px;border:0" sandbox="allow-scripts" '
        f'srcdoc="{escape(page)}"></iframe>'
    )


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


@cache
def _web(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")
