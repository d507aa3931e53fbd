"""The image: what the Dockerfile copies is there, and the wheel that it installs holds all that the code reads."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from manifests import ROOT

from recsys.config import ServeSettings
from serving.routes.web_files import web_files

PACKAGES = ("recsys", "features", "jobs", "serving")
DOCKERFILE = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of that name, in order."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)


def stages() -> dict[str, str]:
    """Stage -> what it is built from."""
    return {name: source for source, name in (line.split(" AS ") for line in instructions("FROM"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as the Dockerfile builds it, from a copy of what it copies."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    out = source / "wheels"
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    out.mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Pages, categories and requirements too: what is read at run time is not always Python."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    read = {"serving/web/demo.html", "serving/web/js/demo.js", "jobs/bench/peers/requirements.txt"}
    assert read | {"recsys/simulate/categories.toml", "recsys/simulate/phrases.toml"} <= held


def test_the_wheel_runs_away_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    """Its command and its service answer, and read their own files, where nothing but the wheel is on the path."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        (points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "recsys = jobs.__main__:main" in archive.read(points).decode()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    environment |= {"PYTHONPATH": str(tmp_path / "installed"), "COLUMNS": "100"}
    code = (
        "import sys; sys.path = [p for p in sys.path if p != '']; from jobs.__main__ import main; "
        f"sys.exit(main(['ingest', 'sample', '-w', {str(tmp_path / 'shop')!r}, "
        "'--products', '30', '--shoppers', '5', '--days', '3']))"
    )
    lines = {
        "sample": [sys.executable, "-c", code],
        "service": [sys.executable, "-m", "serving", "--help"],
        "exporter": [sys.executable, "-m", "serving.telemetry.exporter", "--help"],
    }
    for name, command in lines.items():
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    pages = "import serving; from serving.routes.web_files import web_files; print(serving.__file__, len(web_files()))"
    output = subprocess.run(
        [sys.executable, "-c", pages], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == [str(tmp_path / "installed" / "serving" / "__init__.py"), str(len(web_files()))]


def test_what_is_copied_is_there_and_nothing_else_goes_to_the_builder() -> None:
    copied = [name for line in instructions("COPY") if not line.startswith("--from=") for name in line.split()[:-1]]
    assert set(PACKAGES) <= set(copied)
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
    hidden = [line for line in lines[1:] if not line.startswith("!")]
    assert any(fnmatch.fnmatch("serving/.env", pattern) for pattern in hidden)


def test_stages_build_on_one_another_and_both_targets_hold_the_same_code() -> None:
    known = stages()
    for source in known.values():
        assert source in {"${PYTHON}", *known}
    for source in re.findall(r"(?:--from=|from=)([\w-]+)", DOCKERFILE):
        assert source in known
    assert known["cpu"] == known["cuda"] == "runtime"
    assert list(known)[-1] == "cpu"  # what is built where no target is named
    installs = [line for line in instructions("RUN") if "--requirement" in line]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in line for line in installs)


def test_libraries_of_the_image_are_those_of_the_project() -> None:
    """The line that makes the list of requirements, run here."""
    (line,) = [line for line in instructions("RUN") if "requirements.txt" in line and "--requirement" not in line]
    code = re.search(r'python -c "(.+)" >', line)
    assert code is not None
    result = subprocess.run(
        [sys.executable, "-c", code[1].strip()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run_time = [extra for extra in project["optional-dependencies"] if extra not in ("dev", "bench", "notebooks")]
    expected = [line for extra in run_time for line in project["optional-dependencies"][extra]]
    assert sorted(result.stdout.splitlines()) == sorted([*project["dependencies"], *expected])


def test_the_default_command_serves_and_its_health_is_asked_for() -> None:
    assert instructions("ENTRYPOINT") == ['["recsys"]']
    assert instructions("CMD") == ['["serve", "--host", "0.0.0.0"]']
    assert instructions("EXPOSE") == [str(ServeSettings().port)]
    (health,) = instructions("HEALTHCHECK")
    assert f"http://127.0.0.1:{ServeSettings().port}/readyz" in health
    (python,) = re.findall(r"^ARG PYTHON=python:([\d.]+)-", DOCKERFILE, re.MULTILINE)
    assert f"Python {python}," in (ROOT / "constraints.txt").read_text().splitlines()[0]
