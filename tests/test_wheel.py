"""A wheel built from the tree, installed outside the checkout, does the whole job: ingest, nightly run, an answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import ProxyHandler, Request, build_opener

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.server]

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("recsys", "features", "serving", "jobs")
OPENER = build_opener(ProxyHandler({}))  # a proxy of the environment would not reach this machine
START_S: Final = 240
"""The longest wait for Ray: a laptop busy with other tests needs a minute."""
SMALL: Final = "[factors]\ndim = 8\n[sequence]\ndim = 16\nlayers = 1\nepochs = 1\n[ranking]\ntrees = 10\n"
"""Settings under which a nightly run of a few dozen products takes seconds."""


@dataclass(frozen=True)
class Installed:
    """An environment outside the checkout, and the folder its commands run in."""

    bin: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what would lead back to the checkout or to another service."""
        hidden = ("RECSYS_", "RAY_", "PYTHONPATH", "VIRTUAL_ENV")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        return inherited | {"PATH": f"{self.bin}{os.pathsep}{inherited['PATH']}"}

    def run(self, program: str, *arguments: object) -> str:
        """What the program prints; it must succeed without a traceback."""
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout and nothing old in it gets in."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source / "dist", source]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (source / "dist").glob("recsys-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel alone in a new environment, which finds the libraries, but not the checkout, in this one.

    A path in a .pth file is not searched for further .pth files, so that an editable install stays unknown.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=True)
    environment = Installed(folder / "venv" / "bin", folder)
    environment.run("python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    print_folder = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own_libraries = Path(environment.run("python", "-c", print_folder).strip())
    libraries = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (own_libraries / "libraries.pth").write_text("".join(f"{path}\n" for path in libraries))
    return environment


@contextmanager
def served(installed: Installed, workspace: Path) -> Iterator[str]:
    """The address of `recsys serve`, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(
        [installed.bin / "recsys", "serve", "--workspace", workspace, "--port", str(port)],
        cwd=installed.folder,
        env=installed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    previous = signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.alarm(START_S)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        signal.alarm(0)
        assert line.startswith("serving release "), line + process.communicate()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_the_packages_come_from_the_wheel(installed: Installed) -> None:
    code = f"import importlib; [print(importlib.import_module(name).__file__) for name in {PACKAGES!r}]"
    paths = [Path(line) for line in installed.run("python", "-c", code).splitlines()]
    assert len(paths) == len(PACKAGES)
    for path in paths:
        assert path.is_relative_to(installed.folder)
        assert (path.parent / "py.typed").exists()


def test_the_command_prints_the_version_of_the_wheel(installed: Installed, wheel: Path) -> None:
    assert installed.run("recsys", "--version").split() == ["recsys", wheel.name.split("-")[1]]


def test_ingest_nightly_run_and_service_work_from_another_folder(installed: Installed) -> None:
    workspace = installed.folder / "shop"
    sample = ("--products", 40, "--shoppers", 50, "--days", 12, "--seed", 3)
    installed.run("recsys", "ingest", "sample", "--workspace", workspace, *sample)
    (workspace / "recsys.toml").write_text(SMALL)
    installed.run("recsys", "nightly", "--workspace", workspace)
    with served(installed, workspace) as url:
        body = json.dumps({"text": "a quiet keyboard", "count": 3}).encode()
        request = Request(f"{url}/v1/recommend", body, {"content-type": "application/json"})
        with OPENER.open(request, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
        with OPENER.open(f"{url}/demo", timeout=60) as response:
            page = response.read().decode()
    assert len(answer["items"]) == 3
    assert "<html" in page
