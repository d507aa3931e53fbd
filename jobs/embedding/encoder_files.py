"""Sends the folder of an encoder to workers on machines that cannot read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys import config

Files = Mapping[str, bytes]
"""Contents by path below the folder."""


def encoder_files(encoder: config.EncoderSettings) -> Files | None:
    """What the encoder's folder holds; None for an encoder that is no folder, which every machine finds by its name."""
    folder = Path(encoder.model).expanduser()
    if not folder.is_dir():
        return None
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def local_encoder(encoder: config.EncoderSettings, files: Files | None) -> Iterator[config.EncoderSettings]:
    """The settings; where their folder is not on this machine, with a temporary copy of it while the context lasts."""
    if files is None or Path(encoder.model).expanduser().is_dir():
        yield encoder
        return
    with TemporaryDirectory(prefix="encoder-") as passing:
        folder = Path(passing, Path(encoder.model).name)  # the name is a part of the encoder's id
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield encoder.model_copy(update={"model": str(folder)})
