"""The whole product on a tiny storefront: files, lake, a release, a real service, real HTTP."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path


def run(*arguments: str) -> str:
    """What `python -m …` prints; it must end well."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RECSYS_", "RAY_"))}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, env=environment, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_from_nothing_to_three_personal_lists(tmp_path: Path) -> None:
    workspace = tmp_path / "shop"
    sample = ("--products", "60", "--shoppers", "80", "--days", "15", "--seed", "3")
    ingested = run("jobs", "ingest", "sample", "--workspace", str(workspace), *sample)
    assert "events" in ingested
    settings = "[factors]\ndim = 8\n[sequence]\ndim = 16\nepochs = 2\n"  # small models
    (workspace / "recsys.toml").write_text(settings)
    shown = run("jobs.cli.demo", "--workspace", str(workspace), "--port", str(free_port()), "--once")
    assert shown.count("POST /v1/recommend") == 3
    assert shown.count("\ntook ") == 3
    (release,) = json.loads(run("jobs", "releases", "list", "--json", "--workspace", str(workspace)))
    assert release["release_id"] in shown
    assert release["rows"]["items"] == 60
