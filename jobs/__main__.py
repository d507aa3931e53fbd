"""The command line: `recsys COMMAND …`. An error that the user can fix is one line on stderr and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from jobs.cli.bench import bench_app
from jobs.cli.compress import compress_command
from jobs.cli.copy import copy_command
from jobs.cli.erase import erase_command
from jobs.cli.experiments import experiments_app
from jobs.cli.export import export_app
from jobs.cli.finetune import finetune_command
from jobs.cli.ingest import ingest_app
from jobs.cli.keys import keys_app
from jobs.cli.nightly import nightly_command
from jobs.cli.options import configure_logging
from jobs.cli.releases import releases_app
from jobs.cli.reviews import reviews_app
from jobs.cli.serve import recommend_command, serve_command
from jobs.cli.settings import settings_app
from jobs.cli.simulate import simulate_command
from recsys.errors import HELD_BACK, GateError, RecsysError

app = typer.Typer(
    name="recsys",
    help="Personalized recommendations for storefronts, from behaviour and text.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(ingest_app, name="ingest")
app.command("finetune")(finetune_command)
app.command("nightly")(nightly_command)
app.command("serve")(serve_command)
app.command("recommend")(recommend_command)
app.add_typer(releases_app, name="releases")
app.add_typer(export_app, name="export")
app.command("compress")(compress_command)
app.command("copy")(copy_command)
app.add_typer(experiments_app, name="experiments")
app.add_typer(keys_app, name="keys")
app.add_typer(reviews_app, name="reviews")
app.command("erase")(erase_command)
app.add_typer(settings_app, name="settings")
app.command("simulate")(simulate_command)
app.add_typer(bench_app, name="bench")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"recsys {version('recsys')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Write more log messages.")] = False,
) -> None:
    """Personalized recommendations for storefronts, from behaviour and text."""
    configure_logging(verbose=verbose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default the one on the process's command line, and return its exit code.

    0: success; 2: an error that the user can fix; 3: the checks or the gate held back a nightly run; 130: Ctrl-C.
    Bugs keep their traceback.
    """
    try:
        code = app(args=arguments, prog_name="recsys", standalone_mode=False)
    except GateError as error:
        return _failed(str(error), HELD_BACK)
    except RecsysError as error:
        return _failed(str(error))
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "recsys"
        message = error.format_message().rstrip(".")
        return _failed(f"{message}; see `{command} --help`") if message else 2  # without a message: help was printed
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


def _failed(message: str, code: int = 2) -> int:
    """Print the message on one line, even where a value in it contains line breaks."""
    sys.stderr.write(f"recsys: error: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
