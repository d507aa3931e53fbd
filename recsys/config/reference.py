"""`recsys.toml` and `docs/settings.md`, generated from the fields of the settings and their descriptions."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from recsys.config.checks import LimitSettings
from recsys.config.scenarios import EXAMPLE, ArmSettings, ExperimentSettings
from recsys.config.section import Section
from recsys.config.settings import Settings

WIDTH: Final = 118

TOML_INTRODUCTION: Final = """\
# Every setting with its default. Copy this file to WORKSPACE/recsys.toml, or pass it with --config FILE, and keep the
# lines that you change. The environment can set each of them too: RECSYS_SERVE__PORT=9000.
# docs/settings.md is the reference. Both files are generated from recsys/config/ by `make settings`.
"""

MARKDOWN_INTRODUCTION: Final = """\
# Settings

This page is generated from `recsys/config/` by `make settings`. Do not edit it by hand.

Every setting has a default, so a workspace needs no settings at all. A value comes from the first of these that gives
it:

1. A variable of the environment, `RECSYS_SECTION__KEY`: `RECSYS_SERVE__PORT=9000` sets `serve.port`, and
   `RECSYS_FINETUNE__MLM__EPOCHS=3` sets `finetune.mlm.epochs`. Lists are separated by commas:
   `RECSYS_FINETUNE__STAGES=mlm,contrastive`.
2. The settings file: `--config FILE` or `RECSYS_CONFIG`, else `recsys.toml` of the workspace, else `recsys.toml` of the
   current folder. Only one file is read.
3. The default.

[recsys.toml](../recsys.toml) is such a file with every setting at its default. `recsys settings show --workspace W`
prints the settings in force. An unknown key or a value outside its limits is refused before anything runs; the error
names the file or variable, the key, and the nearest key that exists.
"""


def settings_toml() -> str:
    """The text of `recsys.toml`: every setting at its default, with its meaning and limits as comments."""
    return TOML_INTRODUCTION + "\n" + "\n".join(_toml_section(Settings(), (), "", comments=True)) + "\n"


def effective_toml(settings: Settings) -> str:
    """These settings as TOML, without comments."""
    return "\n".join(_toml_section(settings, (), "", comments=False)) + "\n"


def settings_markdown() -> str:
    """The text of `docs/settings.md`: a table for each section."""
    return MARKDOWN_INTRODUCTION + "\n".join(_markdown_section(Settings(), "", "")) + "\n"


def _toml_section(section: Section, path: tuple[str, ...], about: str, *, comments: bool) -> Iterator[str]:
    """Lines of a section and of those below it; a comment above each header and key, where `comments` is set."""
    fields = _properties(type(section))
    if path:
        yield ""
        yield from _comment(about) if comments else ()
        yield f"[{'.'.join(_quoted(name) for name in path)}]"
    for name, value in section:
        if value is not None and not _is_table(value):
            yield from _comment(fields[name]["description"], _values(value, fields[name])) if comments else ()
            yield f"{name} = {_toml(value)}"
    for name, value in section:
        if isinstance(value, dict):
            yield from _toml_entries(value, (*path, name), fields[name]["description"], comments=comments)
        elif _is_table(value):
            yield from _toml_section(value, (*path, name), fields[name]["description"], comments=comments)


def _toml_entries(
    entries: Mapping[str, Section], path: tuple[str, ...], about: str, *, comments: bool
) -> Iterator[str]:
    """Lines of sections that the shop names, such as experiments; without any, an example that is commented out."""
    if comments and not entries:
        yield from ("", *_comment(about), f"[{'.'.join(path)}]")
        example = _toml_entries(EXAMPLE, path, "For example:", comments=True)
        yield from (f"# {line}".rstrip() for line in example)
    for name, section in entries.items():
        yield from _toml_section(section, (*path, name), about, comments=comments)
        about = ""  # it is about all of them, and stands above the first


def _markdown_section(section: Section, path: str, about: str) -> Iterator[str]:
    """A heading, a table of the section's keys, and the same for each section below it."""
    yield from _markdown_table(section, path, about)
    fields = _properties(type(section))
    for name, value in section:
        below = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from _markdown_experiments(below, fields[name]["description"])
        elif _is_table(value):
            yield from _markdown_section(value, below, fields[name]["description"])


def _markdown_table(section: Section, path: str, about: str) -> Iterator[str]:
    fields = _properties(type(section))
    if path:
        yield from ("", f"## {path}", "", *textwrap.wrap(about, WIDTH))
    rows = [(name, value) for name, value in section if not _is_table(value)]
    if rows:
        yield from ("", "| key | default | values | meaning |", "|---|---|---|---|")
    for name, value in rows:
        default = "unset" if value is None else f"`{_toml(value)}`"
        yield f"| `{name}` | {default} | {_values(value, fields[name])} | {fields[name]['description']} |"


def _markdown_experiments(path: str, about: str) -> Iterator[str]:
    """The section `experiments`, whose sections the shop names: an example, then the keys of both kinds of section."""
    yield from ("", f"## {path}", "", *textwrap.wrap(about, WIDTH), "", "```toml")
    yield from list(_toml_entries(EXAMPLE, (path,), "", comments=False))[1:]
    yield "```"
    arm = ArmSettings()
    fields = _properties(ExperimentSettings)
    yield from _markdown_table(ExperimentSettings(arms={"a": arm, "b": arm}), f"{path}.EXPERIMENT", "One experiment.")
    yield from _markdown_table(arm, f"{path}.EXPERIMENT.arms.ARM", fields["arms"]["description"])


def _is_table(value: object) -> bool:
    """Whether it has a header of its own; a limit is written as an inline table."""
    return isinstance(value, Section | dict) and not isinstance(value, LimitSettings)


def _properties(section: type[Section]) -> Mapping[str, Any]:
    """The JSON schema of each key."""
    properties: Mapping[str, Any] = section.model_json_schema()["properties"]
    return properties


def _values(value: object, schema: Mapping[str, Any]) -> str:
    """The type and the limits of a setting, in words."""
    return "warn and stop: numbers, at least 0" if isinstance(value, LimitSettings) else _in_words(schema)


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        *others, last = (json.dumps(value) for value in schema["enum"])
        return f"{', '.join(others)} or {last}"
    if schema["type"] == "array":
        least = "non-empty " if schema.get("minItems") else ""
        return f"{least}list of {_in_words(schema['items'])}"
    named = {"boolean": "true or false", "string": "text"}.get(schema["type"], schema["type"])
    bounds = _bounds(schema)
    return f"{named}, {bounds}" if bounds else named


def _bounds(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f"{_number(schema['minimum'])} to {_number(schema['maximum'])}"
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "greater than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    return ", ".join(f"{word} {_number(schema[key])}" for key, word in words.items() if key in schema)


def _number(value: float) -> str:
    return f"{value:g}" if value != int(value) else str(int(value))


def _comment(about: str, values: str = "") -> Iterator[str]:
    """Comment lines. The values follow in parentheses, unless the default itself shows what they are."""
    lines = textwrap.wrap(about, WIDTH)
    if values not in ("", "text", "true or false"):
        detail = f"({values})"
        fits = bool(lines) and len(lines[-1]) + len(detail) < WIDTH
        lines = [*lines[:-1], f"{lines[-1]} {detail}"] if fits else [*lines, *textwrap.wrap(detail, WIDTH)]
    yield from (f"# {line}" for line in lines)


def _quoted(name: str) -> str:
    """The name as a part of a TOML header."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: object) -> str:
    if isinstance(value, LimitSettings):
        return f"{{ warn = {value.warn}, stop = {value.stop} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
