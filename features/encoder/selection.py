"""Which encoder a workspace embeds with: the one that its settings name, or one tuned from it that proved better.

`WORKSPACE/encoders/current.json` names the adopted encoder and the SHA-256 of each of its files, and is replaced at
once. In settings, and in those that travel with a release, such an encoder is `workspace:NAME`, so that a workspace
can be moved.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from features.encoder.query_encoder import IN_INT8, read_distilled
from features.workspace.atomic_files import sha256_of, write_atomically
from recsys import config
from recsys.errors import EncoderError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

IN_WORKSPACE: Final = "workspace:"

READER: Final = "sentiment-encoder"
"""Folder beside a sentiment head: the encoder that it reads, where that was tuned along with it."""


@dataclass(frozen=True)
class Adopted:
    """An encoder that stands in for `base`, the model that the settings name.

    model: `workspace:NAME`, or `base` itself where only a sentiment head was adopted; sha256: of its weights; head:
    the folder below `encoders` that holds its sentiment head, "" for none; files: SHA-256 by path below `encoders`.
    """

    base: str
    model: str
    sha256: str
    head: str
    files: dict[str, str]


_JSON: Final = TypeAdapter(Adopted)


def named(folder_name: str) -> str:
    """The value of `encoder.model` for a folder of `WORKSPACE/encoders`."""
    return IN_WORKSPACE + folder_name


def adopt(workspace: Workspace, adopted: Adopted) -> None:
    """From now on the workspace embeds with it; a reader sees the old choice or the new one whole."""
    workspace.encoders.mkdir(parents=True, exist_ok=True)
    write_atomically(workspace.current_encoder, _JSON.dump_json(adopted, indent=2) + b"\n")


def read_adopted(workspace: Workspace, base: str) -> Adopted | None:
    """What was adopted in the place of `base`; None where nothing was, or in the place of another model.

    Raises EncoderError where the choice cannot be read, or one of its files is missing or altered.
    """
    path = workspace.current_encoder
    if not path.is_file():
        return None
    remedy = f"run `recsys finetune` again, or delete {path} to embed with {base}"
    try:
        adopted = _JSON.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]["msg"]
        raise EncoderError(f"{path}: not the choice of an encoder ({first}); {remedy}") from None
    if adopted.base != base:
        return None
    for name, sha256 in adopted.files.items():
        file = workspace.encoders / name
        if not file.is_file():
            raise EncoderError(f"{file}: missing, 1 of {len(adopted.files)} files of the adopted encoder; {remedy}")
        if (found := sha256_of(file)) != sha256:
            raise EncoderError(f"{file}: altered: its SHA-256 is {found}, adopted with {sha256}; {remedy}")
    return adopted


def in_use(settings: config.EncoderSettings, adopted: Adopted | None) -> config.EncoderSettings:
    """The settings with the adopted encoder in the place of the one that they name; without one as they are.

    A student of the one that they name cannot read queries for another: it is left out, and the log says so.
    Raises EncoderError where the student cannot be read.
    """
    if adopted is None or adopted.model == settings.model:
        return settings
    chosen = settings.model_copy(update={"model": adopted.model, "sha256": adopted.sha256})
    if settings.query_model in ("", IN_INT8):
        return chosen
    if read_distilled(Path(settings.query_model).expanduser()).teacher_sha256 == adopted.sha256:
        return chosen
    log.warning("query model left out model=%s encoder=%s remedy=recsys compress", settings.query_model, adopted.model)
    return chosen.model_copy(update={"query_model": ""})


def located(workspace: Workspace, settings: config.EncoderSettings) -> config.EncoderSettings:
    """The settings with the folder in the place of `workspace:NAME`; others as they are.

    Raises EncoderError where this workspace has no such folder.
    """
    if not settings.model.startswith(IN_WORKSPACE):
        return settings
    name = settings.model.removeprefix(IN_WORKSPACE)
    folder = workspace.encoders / name
    known = sorted(path.name for path in workspace.encoders.glob("[!.]*/"))
    if name not in known:
        raise EncoderError(f"encoder {settings.model}: no folder {folder}; there are: {', '.join(known) or 'none'}")
    # absolute: workers on a cluster have folders of their own
    return settings.model_copy(update={"model": str(folder.absolute())})
