"""The settings as they are given: a TOML file, then variables of the environment; what is wrong in words."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from recsys.config import ArmSettings, ExperimentSettings, Settings
from recsys.errors import ConfigError

ENV_PREFIX = "RECSYS_"
ENV_OPTIONS = ("RECSYS_CONFIG", "RECSYS_WORKSPACE", "RECSYS_CACHE")
"""Variables that are no settings: options of the command line, and where this machine keeps its copies."""


def find_settings(asked: Path | None, workspace_file: Path) -> Path | None:
    """The file asked for, else the workspace's, else that of the current folder; None where there is none of these."""
    usual = (workspace_file, Path("recsys.toml"))
    return asked or next((path for path in usual if path.is_file()), None)


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Defaults, then the TOML file, then `RECSYS_SECTION__KEY` variables of `environ`; later ones win.

    Raises ConfigError naming the key, the value's problem, and the nearest known key for an unknown one.
    """
    tree: dict[str, Any] = {}
    where: dict[tuple[str, ...], str] = {}
    if path is not None:
        tree = _read_toml(path)
    for name, value in sorted(environ.items()):
        if name.startswith(ENV_PREFIX) and name not in ENV_OPTIONS:
            keys = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
            section = tree
            for key in keys[:-1]:
                section = section.setdefault(key, {})
            section[keys[-1]] = tuple(value.split(",")) if keys in _lists() else value
            where[keys] = name
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first, *others = error.errors()
        keys = _setting(first["loc"])
        tried = [first["msg"], *(other["msg"] for other in others if _setting(other["loc"]) == keys)]
        message = " or ".join(one[0].lower() + one[1:] for one in tried)
        source = where.get(keys) or (str(path) if path else "settings")
        raise ConfigError(f"{source}: {_explain(keys, first['type'], message, first['input'])}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such settings file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _explain(keys: tuple[str, ...], kind: str, message: str, value: object) -> str:
    name = ".".join(keys)
    if kind != "extra_forbidden":
        return f"setting {name} = {value!r}: {message}"
    nearest = difflib.get_close_matches(name, [*_known_names(), *_beside(keys)], n=1, cutoff=0.0)
    return f"unknown setting {name}; did you mean {nearest[0]}?"


def _setting(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that lead to a setting: of an error's location what follows tells which of several types was tried."""
    keys: list[str] = []
    node: Any = Settings()
    for part in location:
        if isinstance(node, dict):
            node = _ENTRIES[keys[-1]]
        elif isinstance(node, BaseModel):
            node = getattr(node, str(part), None)
        else:
            break
        keys.append(str(part))
    return tuple(keys)


_ENTRIES: Mapping[str, BaseModel] = {
    "experiments": ExperimentSettings(arms={"a": ArmSettings(), "b": ArmSettings()}),
    "arms": ArmSettings(),
}
"""Of settings that hold sections by names of the shop's own: what such a section is like."""


def _beside(keys: tuple[str, ...]) -> list[str]:
    """Names of the settings that may stand where `keys` leads, in a section with a name of the shop's own."""
    if keys[0] != "experiments" or len(keys) < 3:
        return []
    section = _ENTRIES["experiments" if len(keys) == 3 else "arms"]
    return [".".join((*keys[:-1], name)) for name, _ in section]


def _known(section: BaseModel, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys of every setting, and its default."""
    for name, value in section:
        if isinstance(value, BaseModel):
            yield from _known(value, (*above, name))
        else:
            yield (*above, name), value


def _known_names() -> list[str]:
    return [".".join(keys) for keys, _ in _known(Settings())]


def _lists() -> set[tuple[str, ...]]:
    """The keys of settings that hold several values; a variable gives them separated by commas."""
    return {keys for keys, default in _known(Settings()) if isinstance(default, tuple)}
