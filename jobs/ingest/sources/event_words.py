"""Event types of free words, with what `--value` says about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jobs.ingest.sources.spec import SourceOptions
from recsys.values import event_types

STARS_WITHOUT_VALUE: Final[Mapping[str, int]] = {
    **dict.fromkeys(("star", "stars", "like", "love", "thumbsup"), 5),
    **dict.fromkeys(("dislike", "thumbsdown"), 1),
}
"""Words of a rating that is given without a number."""


def event_type_of(word: str, options: SourceOptions) -> str | None:
    """Our event type for a word in any spelling; `--value` comes first. None: unknown, or mapped to nothing."""
    mapped = options.mapped("events.event_type", word)
    return (mapped or None) if mapped is not None else event_types.event_type_of(word)
