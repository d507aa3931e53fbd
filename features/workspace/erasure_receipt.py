"""What an erasure did, signed with the workspace's key: a JSON file that names nobody."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from features.workspace.atomic_files import write_atomically
from features.workspace.erased_users import keyed, read_key
from recsys.errors import ErasureError
from recsys.workspace import Workspace

VERSION: Final = 1
_STRICT: Final = ConfigDict(extra="forbid")


@checked_dataclass(frozen=True, config=_STRICT)
class Place:
    """removed: how many entries of each kind were removed here; files: the new SHA-256 of each rewritten file, by path
    in the workspace."""

    removed: dict[str, int]
    files: dict[str, str]


@checked_dataclass(frozen=True, config=_STRICT)
class Searched:
    """The search that found nothing afterwards.

    id_in: "bytes" where the id was looked for in every byte, "values" where it is too short or is part of others'
    data, so that only whole values tell. n_texts: the shopper's texts that were looked for; n_shared_texts: those that
    others wrote too, or that stand in products, which are not the shopper's alone.
    """

    files: int
    bytes: int
    values: int
    id_in: str
    n_texts: int
    n_shared_texts: int


@checked_dataclass(frozen=True, config=_STRICT)
class Receipt:
    """subject: keyed hash of the id; runs: more than 1 where an earlier attempt was cut off (counts are then at least).

    trained_with: releases that were published by then, whose models have learned from the shopper among others, as
    have the tuned `encoders`; first_without: the first release made afterwards, "" until there is one.
    sources: files of the shop's own, taken in earlier, that still hold the shopper.
    """

    version: int
    subject: str
    known: bool
    requested_at: AwareDatetime | None
    request_id: str
    erased_at: AwareDatetime
    runs: int
    places: dict[str, Place]
    searched: Searched
    trained_with: tuple[str, ...]
    encoders: tuple[str, ...]
    first_without: str
    sources: tuple[str, ...]
    signature: str = ""


_JSON: Final = TypeAdapter(Receipt)


def write_receipt(workspace: Workspace, receipt: Receipt) -> Path:
    """Sign the receipt and keep it in the workspace."""
    name = f"{receipt.erased_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{receipt.subject[:12]}.json"
    path = workspace.erasures / name
    signed = replace(receipt, signature=_signature(workspace, receipt))
    write_atomically(path, _JSON.dump_json(signed, indent=1) + b"\n")
    return path


def verify_receipt(workspace: Workspace, path: Path) -> Receipt:
    """The receipt at `path`. Raises ErasureError where it is none, or was not signed with this workspace's key."""
    try:
        receipt = _JSON.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
        raise ErasureError(f"{path}: not a receipt of an erasure ({reason}); name a file of `erasures/`") from None
    if not hmac.compare_digest(receipt.signature, _signature(workspace, receipt)):
        raise ErasureError(f"{path}: altered, or of another workspace: the signature does not hold")
    return receipt


def receipts(workspace: Workspace) -> Iterator[Receipt]:
    """Every receipt of the workspace whose signature holds, oldest first."""
    for path in sorted(workspace.erasures.glob("*Z-*.json")):
        yield verify_receipt(workspace, path)


def note_release(workspace: Workspace, release_id: str) -> None:
    """Write into the receipts that wait for it that this release was made without their shoppers."""
    for receipt in receipts(workspace):
        if not receipt.first_without:
            write_receipt(workspace, replace(receipt, first_without=release_id))


def trained_with_erased(workspace: Workspace) -> frozenset[str]:
    """Releases whose models have learned from shoppers who were erased since."""
    return frozenset(
        release_id for receipt in receipts(workspace) if receipt.known for release_id in receipt.trained_with
    )


def total(places: Mapping[str, Place]) -> int:
    """Everything that was removed anywhere."""
    return sum(count for place in places.values() for count in place.removed.values())


def _signature(workspace: Workspace, receipt: Receipt) -> str:
    return keyed(read_key(workspace), b"receipt", _JSON.dump_json(replace(receipt, signature="")))
