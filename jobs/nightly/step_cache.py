"""A cache of step results by their inputs, so that a run repeats only the steps whose inputs have changed.

`FOLDER/NAME/KEY/` holds the files of a step, and in `output.json` its inputs and the SHA-256 of every file. The key is
the SHA-256 of the step's name and its inputs: the results of other steps, settings, code, and whatever else it reads. A
result is written to a folder of another name, flushed, and renamed, so a crash leaves no partial result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from features.workspace.atomic_files import sha256_of, sync, sync_tree, write_atomically
from recsys.config import Settings

log = logging.getLogger(__name__)

OUTPUT_FILE: Final = "output.json"
_DRAFT: Final = ".draft-"
_LIBRARIES: Final = ("implicit", "lightgbm", "numpy", "polars", "scipy", "tokenizers", "torch", "transformers")
COUNTED_FOLDERS: Final = (
    "recsys",
    "features",
    "jobs/cluster",
    "jobs/embedding",
    "jobs/gate",
    "jobs/ingest",
    "jobs/lake",
    "jobs/nightly",
    "jobs/training",
)
"""Folders with code of the steps: a change of any module in them makes the steps run again ..."""

UNCOUNTED_FOLDERS: Final = (
    "features/explore",
    "features/item_map",
    "jobs/nightly/report",
    "recsys/explore",
    "recsys/simulate",
)
"""... except these, which no step calls."""

C = TypeVar("C")
"""The context that the steps of a run share."""


@dataclass(frozen=True)
class Output:
    """The result of a step. inputs: digests by name; files: SHA-256 by path; counts: rows and the like, for display."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    step: str
    key: str
    inputs: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """SHA-256 of all its files: later steps do not run again where it is the same."""
        return digest_of(self.files)


_JSON: Final = TypeAdapter(Output)


@dataclass(frozen=True)
class StepOutputWriter:
    """The folder where a step writes its result, with its inputs and their key."""

    folder: Path
    key: str
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Step(Generic[C]):
    """One step. make: writes the result into the writer's folder, and returns counts for display.

    reads: the steps whose results it reads; settings: the sections that it reads; also: digests of whatever else it
    reads, by name; holds: whether a cached result of this key is still valid, where that depends on more than the key.
    """

    name: str
    make: Callable[[C, StepOutputWriter], Mapping[str, int]]
    reads: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    also: Callable[[C], Mapping[str, str]] = lambda _: {}
    holds: Callable[[C, str], bool] = lambda *_: True

    def inputs(self, context: C, outputs: Mapping[str, Output], settings: Settings) -> dict[str, str]:
        """Digests by name of everything that its result depends on; `outputs`: those of the steps that it reads."""
        digests = {f"step {name}": outputs[name].digest for name in self.reads}
        digests |= {f"settings {name}": digest_of(_section(settings, name)) for name in (*self.settings, "seed")}
        return digests | dict(self.also(context)) | versions()


class StepCache:
    """The results of all steps, below one folder. Changing it requires the workspace's lease."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, output: Output) -> Path:
        """The folder of its files."""
        return self._folder / output.step / output.key

    def find(self, step: str, key: str) -> Output | None:
        """The result of this key; None where there is none, or where it is damaged, which is logged."""
        folder = self._folder / step / key
        if not folder.is_dir():
            return None
        output = _read(folder)
        damaged = OUTPUT_FILE if output is None else _damaged_file(folder, output.files)
        if damaged:
            log.warning("step_output_damaged step=%s file=%s action=run the step again", step, folder / damaged)
            return None
        return output

    def newest(self, step: str) -> Output | None:
        """The latest result, whatever its key; its files are not checked."""
        folders = [path for path in self._folder.glob(f"{step}/[!.]*") if (path / OUTPUT_FILE).is_file()]
        folders.sort(key=lambda path: (path / OUTPUT_FILE).stat().st_mtime_ns)
        outputs = (_read(path) for path in reversed(folders))
        return next((output for output in outputs if output), None)

    def make(self, step: Step[C], context: C, inputs: dict[str, str]) -> Output:
        """Run the step and store its result, replacing one of the same key."""
        started = monotonic()
        key = key_of(step.name, inputs)
        place, draft = self._folder / step.name / key, self._folder / step.name / f"{_DRAFT}{key}"
        for leftover in place.parent.glob(f"{_DRAFT}*"):  # of a killed run
            shutil.rmtree(leftover)
        draft.mkdir(parents=True)
        try:
            counts = dict(step.make(context, StepOutputWriter(draft, key, inputs)))
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)  # on a full disk, this frees space for the run's record
            raise
        files = {path.relative_to(draft).as_posix(): sha256_of(path) for path in _files(draft)}
        output = Output(step.name, key, inputs, files, counts, round(monotonic() - started, 2))
        write_atomically(draft / OUTPUT_FILE, _JSON.dump_json(output, indent=2))
        sync_tree(draft)
        if place.exists():
            shutil.rmtree(place)
        draft.rename(place)
        sync(place.parent)
        return output

    def remove_all_but(self, keys: Collection[str]) -> None:
        """Remove the results of other keys, and the leftovers of killed runs."""
        for folder in self._folder.glob("*/*/"):
            if folder.name not in keys:
                shutil.rmtree(folder)


def key_of(step: str, inputs: Mapping[str, str]) -> str:
    """SHA-256, cut to 32 hex digits."""
    return digest_of({"step": step, "inputs": inputs})[:32]


def rules_of(inputs: Mapping[str, str]) -> str:
    """Digest of a step's settings, code and libraries, without its data."""
    rules = versions().keys()
    return digest_of({name: value for name, value in inputs.items() if name.startswith("settings ") or name in rules})


def changed(inputs: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """The names of the inputs that differ, in order."""
    return sorted(name for name in {**before, **inputs} if inputs.get(name) != before.get(name))


@lru_cache
def versions() -> dict[str, str]:
    """The digest of the steps' code, and the versions of the libraries that affect their results."""
    return {"code": code_digest(Path(__file__).parents[2])} | {name: version(name) for name in _LIBRARIES}


def code_digest(root: Path) -> str:
    """SHA-256 of the modules that steps run, names and contents. root: the folder of `recsys`, `features` and
    `jobs`."""
    digest = hashlib.sha256()
    for path in sorted({path for folder in COUNTED_FOLDERS for path in (root / folder).rglob("*.py")}):
        if not any(path.is_relative_to(root / folder) for folder in UNCOUNTED_FOLDERS):
            digest.update(f"{path.relative_to(root).as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _section(settings: Settings, name: str) -> Any:
    return settings.model_dump(mode="json", include={name})


def digest_of(content: Any) -> str:
    """SHA-256 of anything that is JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _read(folder: Path) -> Output | None:
    try:
        return _JSON.validate_json((folder / OUTPUT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _damaged_file(folder: Path, files: Mapping[str, str]) -> str | None:
    """The first that is missing or not as it was written."""
    for name, sha256 in files.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != sha256:
            return name
    return None
