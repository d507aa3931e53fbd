"""The formats of a release manifest: what each calls its keys, and which model files a release of it may lack.

A manifest says its format; one that does not is format 0. A format that was published is never changed: a change of the
manifest, or a model file that every release has from then on, is a new row of `FORMATS`. A file that only some releases
have (`recsys.release_files.ALIASES_FILE`, `features.encoder.reading.READING`) is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from recsys.errors import StoreError
from recsys.release_files import ARRAYS, QUOTES_FILE, VECTORS_FILE
from recsys.source_names import current_source

QUOTE_FILES: Final = (QUOTES_FILE, VECTORS_FILE)
CO_PURCHASE_FILES: Final = tuple(f"{name}.npy" for name in ARRAYS)


@dataclass(frozen=True)
class Format:
    """keys: names in the file of keys that `Manifest` calls otherwise; may_lack: model files that a release of this
    format can be without, so that their absence is no damage."""

    keys: Mapping[str, str] = field(default_factory=dict)
    may_lack: frozenset[str] = frozenset()


LATEST: Final = 1
"""The format of new releases."""

FORMATS: Final[Mapping[int, Format]] = {
    0: Format(keys={"log_offset": "live"}, may_lack=frozenset({*QUOTE_FILES, *CO_PURCHASE_FILES})),
    1: Format(),
}
"""0: everything that recsys 0.1 published; sources are called by their names of then (`recsys.source_names`).
1: `format` is written, the position in the live database is `log_offset`, quotes and co-purchases are always there."""


def from_file(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A manifest's JSON with the keys of today. where: its path, for the error.

    Raises StoreError for a format that this version of recsys does not know.
    """
    number = content.get("format", 0)
    known = FORMATS.get(number) if isinstance(number, int) else FORMATS[LATEST]  # what is no number is damage
    if known is None:
        *others, last = map(str, FORMATS)
        raise StoreError(
            f"{where}: release format {number}, this version of recsys reads {', '.join(others)} and {last}; update "
            "recsys, or serve an older release with `recsys releases rollback`"
        )
    today = {in_file: key for key, in_file in known.keys.items()}
    renamed = {today.get(key, key): value for key, value in content.items()} | {"format": number}
    metrics = renamed.get("metrics")
    if number == 0 and isinstance(metrics, Mapping):
        renamed["metrics"] = {current_source(name): value for name, value in metrics.items()}
    return renamed


def to_file(content: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON as its format writes it: a release that is rewritten stays readable to whatever could read it."""
    number = content["format"]
    keys = FORMATS[number].keys
    written = {keys.get(key, key): value for key, value in content.items() if key != "format"}
    return written if number == 0 else {"format": number, **written}
