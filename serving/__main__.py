"""`python -m serving --workspace W`: serve the workspace's current release until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from features.processes.run_folder import RunFolder, clear_dead_runs
from features.store.manifest import read_pointer
from features.workspace.api_keys import read_keys
from features.workspace.location import checked_place, served
from recsys.config import ServeSettings, Settings
from recsys.errors import RecsysError, ServeError, StoreError
from recsys.settings_file import find_settings, load_settings
from recsys.workspace import Workspace
from serving.ingress.ray_proxy import (
    BINARY_VARIABLE,
    LOOPBACK,
    METRICS_VARIABLE,
    check_port,
    check_reach,
    ray_environment,
)
from serving.telemetry.tracing import check_tracing, variables

log = logging.getLogger(__name__)

EXIT_REFUSED: Final = 2
READY_TIMEOUT_S: Final = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 after a clean end, 2 for an error that the user can fix (one line on stderr)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        _serve(options)
    except RecsysError as error:
        print(f"recsys: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--workspace", required=True, help="folder of the shop, or s3://bucket/prefix")
    parser.add_argument(
        "--host",
        help="127.0.0.1 (default); 0.0.0.0 or :: (IPv6) for other machines, which needs keys: recsys keys create",
    )
    parser.add_argument("--port", help="default: serve.port, 8000")
    parser.add_argument(
        "--config",
        type=Path,
        help="settings file; by default recsys.toml of the workspace, else of the current folder",
    )
    return parser


def _settings(options: argparse.Namespace, workspace: Workspace) -> Settings:
    environ = dict(os.environ)
    given = {"RECSYS_SERVE__HOST": options.host, "RECSYS_SERVE__PORT": options.port}
    environ |= {name: value for name, value in given.items() if value is not None}
    config = options.config or (Path(environ["RECSYS_CONFIG"]) if "RECSYS_CONFIG" in environ else None)
    return load_settings(find_settings(config, workspace.settings_file), environ)


def _serve(options: argparse.Namespace) -> None:
    """Checks everything that can be checked before it starts Ray, which takes seconds."""
    workspace, _ = served(checked_place(options.workspace))
    settings = _settings(options, workspace)
    if workspace.url and not settings.serve.events_url:
        raise ServeError(
            f"{workspace.url}: object storage cannot hold the live database; set RECSYS_SERVE__EVENTS_URL (or "
            "serve.events_url) to postgresql://user:password@host/name"
        )
    # Not through the store: lancedb must not be loaded in the process that starts Ray (serving/releases/active.py).
    if read_pointer(workspace.current) is None:
        shown = workspace.shown
        raise StoreError(f"{shown}: no release published yet; run `recsys nightly --workspace {shown}`")
    check_reach(settings.serve, read_keys(workspace.api_keys), datetime.now(UTC), workspace.shown)
    check_tracing(os.environ)
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        for orphans in clear_dead_runs(workspace.shown, settings.serve.port):
            print(f"recsys: {orphans}", file=sys.stderr)  # noqa: T201
        check_port(settings.serve)
    run = RunFolder(workspace.shown, settings.serve.port)
    try:
        _run(workspace, settings, address, run)
    except KeyboardInterrupt:
        run.close()
        raise
    except ServeError as error:
        run.close(failed=True)
        raise ServeError(f"{error}; logs: {_logs(run)}/worker-*.err") from None
    except Exception:
        log.error("service failed logs=%s", _logs(run))
        run.close(failed=True)
        raise


def _run(workspace: Workspace, settings: Settings, address: str | None, run: RunFolder) -> None:
    environment = ray_environment(settings.serve, run.path) | variables(os.environ)
    if address is not None:
        environment.pop(BINARY_VARIABLE, None)  # another machine's commands may lie elsewhere
    os.environ.update({name: value for name, value in environment.items() if name != METRICS_VARIABLE})
    # Imported here: ray reads these variables when it is imported.
    from serving.app import deploy, ray_cluster

    # Set only now: this process imports the metrics, but it is not a replica (serving/telemetry/metrics.py).
    os.environ[METRICS_VARIABLE] = environment[METRICS_VARIABLE]

    with ray_cluster(address, run, environment):
        # Ray has installed its own handlers.
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGINT, _interrupt)
        deploy(workspace, settings)
        release_id = _served_release(workspace, settings.serve)
        host = f"[{settings.serve.host}]" if ":" in settings.serve.host else settings.serve.host
        url = f"http://{host}:{settings.serve.port}"
        print(f"serving release {release_id} on {url}  (Ctrl-C stops)", flush=True)  # noqa: T201
        threading.Event().wait()


def _served_release(workspace: Workspace, settings: ServeSettings) -> str:
    """The id of the release, read through the proxy as a client would. Raises ServeError where no release is loaded."""
    connection = HTTPConnection("::1" if settings.host == "::" else LOOPBACK, settings.port, timeout=READY_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise ServeError(f"{workspace.shown}: its current release could not be loaded")
    release_id: str = json.loads(body)["release_id"]
    return release_id


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, so that every process started is ended on the way out; further signals are ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _logs(run: RunFolder) -> Path:
    return run.ray / "session_latest" / "logs"


if __name__ == "__main__":
    sys.exit(main())
