"""Reviews that are never quoted: their ids in one file of the workspace, which counts at once and for every release."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from features.workspace.json_files import one_writer, read_checked, write_checked
from recsys.errors import DataError


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HiddenReview:
    """A review that is not quoted, and since when."""

    review_id: str
    hidden_at: AwareDatetime


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _File:
    version: int
    reviews: tuple[HiddenReview, ...]


_JSON: Final = TypeAdapter(_File)
_VERSION: Final = 1


def read_hidden(path: Path) -> tuple[HiddenReview, ...]:
    """What is hidden, the first hidden first; nothing without a file. Raises DataError where it cannot be read."""
    remedy = "restore it, or remove it and hide them again"
    file = read_checked(path, _JSON, _VERSION, "hidden reviews", remedy, DataError)
    return () if file is None else file.reviews


def hidden_ids(path: Path) -> frozenset[str]:
    """The ids of `read_hidden`."""
    return frozenset(review.review_id for review in read_hidden(path))


def hide_reviews(path: Path, review_ids: Iterable[str], now: datetime) -> None:
    """Hide these from now on; one that is hidden stays as it was."""
    with one_writer(path, now):
        hidden = read_hidden(path)
        known = {review.review_id for review in hidden}
        new = [HiddenReview(review_id, now) for review_id in dict.fromkeys(review_ids) if review_id not in known]
        _write(path, (*hidden, *new))


def show_reviews(path: Path, review_ids: Iterable[str], now: datetime) -> None:
    """Quote these again. Raises DataError, and changes nothing, where one is not hidden."""
    shown = set(review_ids)
    with one_writer(path, now):
        hidden = read_hidden(path)
        unknown = sorted(shown - {review.review_id for review in hidden})
        if unknown:
            raise DataError(f"review {unknown[0]!r} is not hidden; `recsys reviews list` names those that are")
        _write(path, tuple(review for review in hidden if review.review_id not in shown))


def _write(path: Path, reviews: tuple[HiddenReview, ...]) -> None:
    write_checked(path, _JSON, _File(_VERSION, reviews))
