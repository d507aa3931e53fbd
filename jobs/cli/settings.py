"""`recsys settings …`: the settings in force, and the reference of all settings."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from typing import Annotated

import typer

from features.workspace.location import editing
from jobs.cli.options import ConfigOption, JsonOption, WorkspaceOption
from recsys.config.reference import effective_toml, settings_markdown, settings_toml
from recsys.settings_file import find_settings, load_settings, variables

settings_app = typer.Typer(help="Show the settings in force, or the reference of all settings.", no_args_is_help=True)


class Format(StrEnum):
    TOML = "toml"
    MARKDOWN = "markdown"


@settings_app.command("show")
def show_command(workspace: WorkspaceOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print the settings in force as TOML, and where they come from. Passwords in URLs are masked."""
    with editing(workspace) as place:
        path = find_settings(config, place.settings_file)
        settings = load_settings(path, os.environ)
        file = f"{place.shown}/{path.name}" if path == place.settings_file else path or "none"
    url = masked(settings.serve.events_url)
    shown = settings.model_copy(update={"serve": settings.serve.model_copy(update={"events_url": url})})
    if as_json:
        sys.stdout.write(shown.model_dump_json(indent=2) + "\n")
        return
    sys.stdout.write(f"# file: {file}\n# variables: {', '.join(variables(os.environ)) or 'none'}\n")
    sys.stdout.write(effective_toml(shown))


@settings_app.command("reference")
def reference_command(
    output: Annotated[
        Format, typer.Option("--format", help="toml: a settings file with every default; markdown: a page of tables.")
    ] = Format.TOML,
) -> None:
    """Print every setting with its default, limits and meaning."""
    sys.stdout.write(settings_toml() if output is Format.TOML else settings_markdown())


def masked(url: str) -> str:
    """The URL with *** in place of its password, wherever it stands in it."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*:)(.*)@", r"\1***@", url))
