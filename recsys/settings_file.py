"""Settings from a TOML file and from variables of the environment, read with pydantic-settings.

What is wrong is explained in one line: the file or variable, the key, the value, and what to write instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from recsys.config import RENAMED, ArmSettings, ExperimentSettings, Settings
from recsys.errors import ConfigError

ENV_PREFIX: Final = "RECSYS_"
ENV_OPTIONS: Final = ("RECSYS_CONFIG", "RECSYS_WORKSPACE", "RECSYS_CACHE")
"""Variables that are not settings: options of the command line, and the folder of this machine's copies."""


_PLAIN: Final = {
    "dict_type": "input should be a section of settings",
    "model_type": "input should be a section of settings",
    "tuple_type": "input should be a list",
}
"""Pydantic's messages that name a class of Python, in the words of a settings file."""


def find_settings(config: Path | None, workspace_file: Path) -> Path | None:
    """`config` where it is given, else the workspace's file, else that of the current folder; None without any."""
    usual = (workspace_file, Path("recsys.toml"))
    return config or next((path for path in usual if path.is_file()), None)


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Defaults, then the TOML file, then `RECSYS_SECTION__KEY` variables of `environ`; later ones win.

    Raises ConfigError naming the file or variable, the key, and the value's problem; for an unknown key the nearest
    one that exists, for a renamed key its new name.
    """
    names = variables(environ)
    tree = _merged(_read_toml(path) if path else {}, _Variables(names, environ)())
    try:
        return Settings.model_validate(tree)
    except ValidationError as refused:
        first, *others = refused.errors()
        keys = _setting(first["loc"])
        same = [first, *(other for other in others if _setting(other["loc"]) == keys)]
        messages = [_PLAIN.get(error["type"], error["msg"]) for error in same]
        problem = " or ".join(message[0].lower() + message[1:] for message in messages)
        variable = _variable_of(keys[:-1] if first["type"] == "missing" else keys, names)
        source = variable or (str(path) if path else "settings")
        raise ConfigError(f"{source}: {_explain(keys, variable, first['type'], problem, first['input'])}") from None


def variables(environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Name and keys of each variable that gives a setting, in the order of the names."""
    return {
        name: tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
        for name in sorted(environ)
        if name.startswith(ENV_PREFIX) and name not in ENV_OPTIONS
    }


class _SettingsTree(BaseSettings, Settings):
    """Tells the sources of pydantic-settings what settings there are. `Settings` itself never reads the environment."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__")


class _Variables(EnvSettingsSource):
    """The tree that the variables give: lists are separated by commas, and unknown keys stay in."""

    def __init__(self, names: Mapping[str, tuple[str, ...]], environ: Mapping[str, str]) -> None:
        super().__init__(_SettingsTree)
        self._unknown = {
            keys: environ[name] for name, keys in names.items() if keys[0] not in _SettingsTree.model_fields
        }
        self.env_vars = {name.lower(): environ[name] for name in names}

    def __call__(self) -> dict[str, Any]:
        tree = super().__call__()
        return tree | {keys[0]: value for keys, value in self._unknown.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """A list separated by commas, or JSON; what is neither stays as it is, for validation to refuse and name."""
        is_json = value.lstrip().startswith(("[", "{"))
        if not is_json and field is not None and get_origin(field.annotation) is tuple:
            return [part.strip() for part in value.split(",")]
        try:
            return super().decode_complex_value(field_name, field, value) if is_json else value
        except ValueError:
            return value


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such settings file")
    try:
        return TomlConfigSettingsSource(_SettingsTree, path)()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # of TOML, and of UTF-8
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _merged(tree: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with the values of `over` in it, section by section."""
    both = {name: (tree.get(name), value) for name, value in over.items()}
    changed = {
        name: _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
        for name, (before, value) in both.items()
    }
    return {**tree, **changed}


def _variable_of(keys: tuple[str, ...], names: Mapping[str, tuple[str, ...]]) -> str | None:
    """The variable that gave the setting, or a part of it; None where no variable did."""
    gave = [name for name, given in names.items() if given[: len(keys)] == keys or keys[: len(given)] == given]
    return next((name for name in gave if names[name] == keys), gave[0] if gave else None)


def _explain(keys: tuple[str, ...], variable: str | None, kind: str, problem: str, value: object) -> str:
    name = ".".join(keys)
    if kind == "missing":
        return f"setting {name} is missing: {problem}"
    if kind != "extra_forbidden":
        return f"setting {name} = {value!r}: {problem}"
    if name in RENAMED:
        new = RENAMED[name]
        use = variable.replace(_as_variable(name), _as_variable(new)) if variable else new
        return f"setting {name} was renamed to {new}; use {use}"
    known = {other.lower(): other for other in (*_known_names(), *_beside(keys))}
    nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)
    return f"unknown setting {name}; did you mean {known[nearest[0]]}?"


def _as_variable(name: str) -> str:
    return ENV_PREFIX + name.replace(".", "__").upper()


def _setting(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that lead to a setting. The rest of an error's location says which of several types was tried."""
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


_ENTRIES: Final[Mapping[str, BaseModel]] = {
    "experiments": ExperimentSettings(arms={"a": ArmSettings(), "b": ArmSettings()}),
    "arms": ArmSettings(),
}
"""An entry of each setting whose sections the shop names."""


def _beside(keys: tuple[str, ...]) -> list[str]:
    """Names of the settings that may stand where `keys` leads, in a section that the shop names."""
    if keys[0] != "experiments" or len(keys) < 3:
        return []
    section = _ENTRIES["experiments" if len(keys) == 3 else "arms"]
    return [".".join((*keys[:-1], name)) for name, _ in section]


def _known_names() -> list[str]:
    return [".".join(keys) for keys in _known(Settings())]


def _known(section: BaseModel, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys of every setting and of every section."""
    for name, value in section:
        yield (*above, name)
        if isinstance(value, BaseModel):
            yield from _known(value, (*above, name))
