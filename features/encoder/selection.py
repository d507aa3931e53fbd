"""Which encoder a workspace embeds with: the one that its settings name, or a tuned version of it that proved better.

`WORKSPACE/encoders/current.json` names the selected encoder and the SHA-256 of each of its files; it is replaced
atomically. Settings, and those stored in a release, refer to such an encoder as `workspace:NAME`, so that a workspace
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

SENTIMENT_ENCODER: Final = "sentiment-encoder"
"""Folder beside a sentiment head with the encoder that the head needs, if the encoder was tuned together with it."""


@dataclass(frozen=True)
class SelectedEncoder:
    """The encoder that replaces `base`, the model that the settings name.

    model: `workspace:NAME`, or `base` itself if only a sentiment head was adopted; sha256: of the model's weights;
    head: folder below `encoders` with its sentiment head, "" for none; files: SHA-256 by path below `encoders`.
    """

    base: str
    model: str
    sha256: str
    head: str
    files: dict[str, str]


_JSON: Final = TypeAdapter(SelectedEncoder)


def workspace_model(folder_name: str) -> str:
    """The value of `encoder.model` for a folder of `WORKSPACE/encoders`."""
    return IN_WORKSPACE + folder_name


def select_encoder(workspace: Workspace, selected: SelectedEncoder) -> None:
    """Make the workspace embed with this encoder from now on; the file is replaced atomically."""
    workspace.encoders.mkdir(parents=True, exist_ok=True)
    write_atomically(workspace.current_encoder, _JSON.dump_json(selected, indent=2) + b"\n")


def read_selected(workspace: Workspace, base: str) -> SelectedEncoder | None:
    """The encoder selected in place of `base`; None if there is none, or if it replaces another model.

    Raises EncoderError if the selection cannot be read, or if one of its files is missing or altered.
    """
    path = workspace.current_encoder
    if not path.is_file():
        return None
    remedy = f"run `recsys finetune` again, or delete {path} to embed with {base}"
    try:
        selected = _JSON.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]["msg"]
        raise EncoderError(f"{path}: not a valid encoder selection ({first}); {remedy}") from None
    if selected.base != base:
        return None
    for name, sha256 in selected.files.items():
        file = workspace.encoders / name
        if not file.is_file():
            raise EncoderError(f"{file}: missing, 1 of {len(selected.files)} files of the selected encoder; {remedy}")
        if (digest := sha256_of(file)) != sha256:
            raise EncoderError(f"{file}: altered: its SHA-256 is {digest}, expected {sha256}; {remedy}")
    return selected


def effective_settings(settings: config.EncoderSettings, selected: SelectedEncoder | None) -> config.EncoderSettings:
    """The settings with the selected encoder in place of the one that they name; unchanged without a selection.

    A query model distilled from another encoder cannot be used with the selected one: it is dropped with a warning.
    Raises EncoderError if the query model's record cannot be read.
    """
    if selected is None or selected.model == settings.model:
        return settings
    chosen = settings.model_copy(update={"model": selected.model, "sha256": selected.sha256})
    if settings.query_model in ("", IN_INT8):
        return chosen
    if read_distilled(Path(settings.query_model).expanduser()).teacher_sha256 == selected.sha256:
        return chosen
    log.warning("query model dropped model=%s encoder=%s remedy=recsys compress", settings.query_model, selected.model)
    return chosen.model_copy(update={"query_model": ""})


def resolve_path(workspace: Workspace, settings: config.EncoderSettings) -> config.EncoderSettings:
    """The settings with `workspace:NAME` replaced by the path of its folder; others unchanged.

    Raises EncoderError if this workspace has no such folder.
    """
    if not settings.model.startswith(IN_WORKSPACE):
        return settings
    name = settings.model.removeprefix(IN_WORKSPACE)
    folder = workspace.encoders / name
    known = sorted(path.name for path in workspace.encoders.glob("[!.]*/"))
    if name not in known:
        raise EncoderError(f"encoder {settings.model}: no folder {folder}; available: {', '.join(known) or 'none'}")
    # absolute, because workers on a cluster have other working directories
    return settings.model_copy(update={"model": str(folder.absolute())})
