"""A smaller encoder for queries than for the texts that they are compared with.

The vectors of two encoders are comparable only if one is the other in int8, or if one is a student distilled from the
other; `distilled.json` in the student's folder names its teacher.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from features.encoder.encoder import Encoder, encoder_id, encoder_sha256, load_encoder
from features.workspace.atomic_files import write_atomically
from recsys import config
from recsys.errors import EncoderError

IN_INT8: Final = "int8"
"""Value of `encoder.query_model` for the encoder itself in int8."""

RECORD_FILE: Final = "distilled.json"


@dataclass(frozen=True)
class Distilled:
    """A student and its teacher: SHA-256 of both models' weights, and the teacher's number of dimensions."""

    sha256: str
    teacher_sha256: str
    dim: int


_ADAPTER: Final = TypeAdapter(Distilled)


def save_distilled(record: Distilled, folder: Path) -> None:
    """Write the record into the student's folder."""
    write_atomically(folder / RECORD_FILE, _ADAPTER.dump_json(record, indent=2))


def load_query_encoder(settings: config.EncoderSettings) -> Encoder:
    """The encoder of queries: `encoder.query_model` if set, else the encoder itself.

    It has the encoder's id, because their vectors are comparable. Raises EncoderError as `load_encoder` and
    `query_settings` do.
    """
    chosen = query_settings(settings)
    return replace(load_encoder(chosen), id=encoder_id(settings))


def query_settings(settings: config.EncoderSettings) -> config.EncoderSettings:
    """The settings of the encoder of queries. Reads only digests, no weights.

    Raises EncoderError if `query_model` was not distilled from this encoder, or has fewer dimensions than it.
    """
    if not settings.query_model:
        return settings
    if settings.query_model == IN_INT8:
        return settings.model_copy(update={"precision": "int8", "query_model": ""})
    record = read_distilled(Path(settings.query_model).expanduser())
    teacher = encoder_sha256(settings)
    dim = int(encoder_id(settings).rpartition("-")[2])
    name = f"setting encoder.query_model = {settings.query_model!r}"
    if record.teacher_sha256 != teacher:
        raise EncoderError(
            f"{name}: distilled from weights with SHA-256 {record.teacher_sha256[:12]}…, but {settings.model} "
            f"has {teacher[:12]}…, so their vectors are not comparable; run `recsys compress` again, or unset it"
        )
    if record.dim < dim:
        raise EncoderError(f"{name}: it has {record.dim} dimensions, but encoder.dim needs {dim}; lower encoder.dim")
    changes = {"model": settings.query_model, "sha256": record.sha256, "pooling": "auto", "dim": dim, "query_model": ""}
    return settings.model_copy(update=changes)


def read_distilled(folder: Path) -> Distilled:
    """The record in a student's folder. Raises EncoderError if there is none, or it cannot be read."""
    file = folder / RECORD_FILE
    try:
        return _ADAPTER.validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"setting encoder.query_model = '{folder}': {file.name}, which names the teacher, cannot be read "
            f"({type(error).__name__}); name a folder written by `recsys compress`, or 'int8'"
        ) from None
