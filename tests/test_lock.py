"""uv.lock and constraints.txt: what they pin is what pyproject.toml asks for, from PyPI, checked by hashes."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
PYPI: Final = "https://pypi.org/simple"
FILES: Final = "https://files.pythonhosted.org/"


@pytest.fixture(scope="module")
def packages() -> list[dict[str, Any]]:
    """All packages of the lock except the project itself."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return [package for package in lock["package"] if package["name"] != "recsys"]


def test_every_library_comes_from_pypi_and_has_hashes(packages: list[dict[str, Any]]) -> None:
    """A lock written on a machine with a mirror or with local wheels would not work elsewhere."""
    assert {package["source"].get("registry") for package in packages} == {PYPI}
    for package in packages:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        for file in files:
            assert file["url"].startswith(FILES), file["url"]
            assert file["hash"].startswith("sha256:"), file["url"]


def test_constraints_are_exported_from_the_lock(packages: list[dict[str, Any]]) -> None:
    """`make lock` writes both."""
    locked: dict[str, set[str]] = defaultdict(set)
    for package in packages:
        locked[package["name"]].add(package["version"])
    pinned: dict[str, set[str]] = defaultdict(set)
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pinned[canonicalize_name(requirement.name)].add(specifier.version)
    assert pinned == locked


def test_the_lock_follows_pyproject() -> None:
    """A dependency that is added without `make lock` would not be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {(canonicalize_name(r.name), "", str(r.specifier)) for r in map(Requirement, project["dependencies"])}
    for extra, lines in project["optional-dependencies"].items():
        required |= {(canonicalize_name(r.name), extra, str(r.specifier)) for r in map(Requirement, lines)}
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    (recsys,) = [package for package in lock["package"] if package["name"] == "recsys"]
    locked = set()
    for requirement in recsys["metadata"]["requires-dist"]:
        marker = requirement.get("marker", "")
        extra = marker.rpartition("extra == '")[2].removesuffix("'") if "extra ==" in marker else ""
        specifier = str(Requirement(f"x{requirement.get('specifier', '')}").specifier)
        locked.add((requirement["name"], extra, specifier))
    assert locked == required
