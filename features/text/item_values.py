"""Texts of products as shops write them become plain text: titles, brands, descriptions, categories, attributes.

Both doors use it, files and the service. HTML becomes text, entities are resolved, letters are in NFC.
"""

from __future__ import annotations

import json
from typing import Any

from features.text.cleaning import clean, plain_lines
from recsys.values.categories import category_path, parsed_list
from recsys.values.letters import composed


def one_line(text: str) -> str | None:
    """A title or a brand; None where nothing is left."""
    return clean(text) or None


def lines(text: str) -> str | None:
    """A description, with its line ends; None where nothing is left."""
    stripped = (" ".join(line.split()) for line in plain_lines(text).splitlines())
    return "\n".join(line for line in stripped if line) or None


def category(value: str) -> str | None:
    """A path, general to special, joined by ' > '; None where there is none."""
    return category_path(composed(value), clean)


def attributes(tree: dict[str, Any]) -> dict[str, Any]:
    """With sorted keys, without blank values, in NFC."""
    known = {key: tree[key] for key in sorted(tree) if tree[key] not in (None, "", [], {})}
    normal: dict[str, Any] = json.loads(composed(json.dumps(known, ensure_ascii=False)))
    return normal


def attributes_of_text(text: str | None, source_name: str) -> str | None:
    """A JSON object as `attributes`; anything but an object is stored under the source's name."""
    if text is None:
        return None
    value = parsed_list(text)
    known = attributes(value if isinstance(value, dict) else {source_name: value})
    return json.dumps(known, ensure_ascii=False) if known else None
