"""A smaller encoder for queries than for what they are compared with, where the two have one space.

An encoder in int8 has the space of the same in full precision, and a student that of the teacher it was distilled
from, which `distilled.json` in its folder names. Of any other pair of encoders cosines mean nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from features.encoder.encoder import Encoder, encoder_id, encoder_sha256, load_encoder
from features.workspace.atomic_files import write_atomically
from recsys import config
from recsys.errors import EncoderError

IN_INT8: Final = "int8"
"""This value of `encoder.query_model` is the encoder itself, in int8."""

RECORD_FILE: Final = "distilled.json"


@dataclass(frozen=True)
class Distilled:
    """Whose vectors a student gives: SHA-256 of both models' weights, and the teacher's number of dimensions."""

    sha256: str
    teacher_sha256: str
    dim: int


def save_distilled(record: Distilled, folder: Path) -> None:
    """Write the record into the student's folder."""
    write_atomically(folder / RECORD_FILE, json.dumps(asdict(record), indent=2).encode())


def load_query_encoder(settings: config.EncoderSettings) -> Encoder:
    """What encodes queries: `encoder.query_model` where it is set, else the encoder itself.

    Its id is the encoder's own, as their vectors may be compared. Raises EncoderError as `load_encoder` and
    `query_settings` do.
    """
    chosen = query_settings(settings)
    return replace(load_encoder(chosen), id=encoder_id(settings))


def query_settings(settings: config.EncoderSettings) -> config.EncoderSettings:
    """The encoder of queries as settings of its own; nothing is read but digests.

    Raises EncoderError where `query_model` is no student of this encoder, or has fewer dimensions than are compared.
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
            f"{name}: it was distilled from weights with SHA-256 {record.teacher_sha256[:12]}…, and {settings.model} "
            f"has {teacher[:12]}…: their vectors cannot be compared; run `recsys compress` again, or unset it"
        )
    if record.dim < dim:
        raise EncoderError(f"{name}: it has {record.dim} dimensions, and {dim} are compared; lower encoder.dim")
    own = {"model": settings.query_model, "sha256": record.sha256, "pooling": "auto", "dim": dim, "query_model": ""}
    return settings.model_copy(update=own)


def read_distilled(folder: Path) -> Distilled:
    """The record in a student's folder. Raises EncoderError where there is none that can be read."""
    file = folder / RECORD_FILE
    try:
        return Distilled(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EncoderError(
            f"setting encoder.query_model = '{folder}': {file.name} cannot be read ({type(error).__name__}), which "
            "tells whose vectors it gives; name a folder that `recsys compress` made, or 'int8'"
        ) from None
