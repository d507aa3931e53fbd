"""Reviews that are never quoted: their ids in one file of the workspace, which counts at once and for every release."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from features.durable import write_atomically
from features.lease import hold_lease
from recsys.errors import DataError

LEASE_MINUTES: Final = 1.0


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
    try:
        file = _JSON.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        said = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
        raise DataError(
            f"{path}: not a file of hidden reviews ({said}); restore it, or remove it and hide them again"
        ) from None
    if file.version != _VERSION:
        raise DataError(f"{path}: version {file.version} of the file, {_VERSION} can be read; update recsys")
    return file.reviews


def hidden_ids(path: Path) -> frozenset[str]:
    """The ids of `read_hidden`."""
    return frozenset(review.review_id for review in read_hidden(path))


def hide_reviews(path: Path, review_ids: Iterable[str], now: datetime) -> None:
    """Hide these from now on; one that is hidden stays as it was."""
    with hold_lease(_lease(path), now, LEASE_MINUTES):
        hidden = read_hidden(path)
        known = {review.review_id for review in hidden}
        new = [HiddenReview(one, now) for one in dict.fromkeys(review_ids) if one not in known]
        _write(path, (*hidden, *new))


def show_reviews(path: Path, review_ids: Iterable[str], now: datetime) -> None:
    """Quote these again. Raises DataError, and changes nothing, where one is not hidden."""
    shown = set(review_ids)
    with hold_lease(_lease(path), now, LEASE_MINUTES):
        hidden = read_hidden(path)
        unknown = sorted(shown - {review.review_id for review in hidden})
        if unknown:
            raise DataError(f"review {unknown[0]!r} is not hidden; `recsys reviews list` names those that are")
        _write(path, tuple(review for review in hidden if review.review_id not in shown))


def _write(path: Path, reviews: tuple[HiddenReview, ...]) -> None:
    write_atomically(path, _JSON.dump_json(_File(_VERSION, reviews), indent=1))


def _lease(path: Path) -> Path:
    """Two commands at once must not each write what the other has not seen."""
    return path.with_name(f"{path.stem}-lease.json")
