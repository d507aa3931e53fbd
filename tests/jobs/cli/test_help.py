"""`--help`: every command and option is described, and the command line loads fast."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from typer.main import get_command

from jobs.__main__ import app


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {child}")


COMMANDS = dict(commands(get_command(app), "recsys"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_are_described(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    undescribed = [
        parameter.name
        for parameter in command.params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert not undescribed


def test_the_command_line_loads_without_torch_and_ray() -> None:
    """Both take seconds to import; only the commands that compute import them."""
    code = "import sys, jobs.__main__; print([name for name in ('torch', 'ray', 'lancedb') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
