"""Files about the project name only what is there: Pythons, make targets, typed packages, tools of the hooks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from conftest import MARKED_FIXTURES, MARKED_PATHS, TESTS

ROOT: Final = Path(__file__).parents[1]
GUIDES: Final = (
    "README.md",
    "CONTRIBUTING.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
    ".github/workflows/ci.yml",
    ".ci/run",
)


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_workflow_runs_every_python_that_the_classifiers_name(pyproject: dict[str, Any]) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    pattern = re.compile(r"Programming Language :: Python :: (3\.\d+)")
    classified = [match[1] for line in pyproject["project"]["classifiers"] if (match := pattern.fullmatch(line))]
    assert workflow["jobs"]["fast"]["strategy"]["matrix"]["python"] == classified
    assert pyproject["project"]["requires-python"] == f">={classified[0]}"


def test_every_make_target_that_a_guide_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in GUIDES:
        for target in re.findall(r"(?:`|^|run: )make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE):
            assert target in targets, f"{name}: make {target}"


def test_every_package_publishes_its_types(pyproject: dict[str, Any]) -> None:
    setuptools = pyproject["tool"]["setuptools"]
    for package in (pattern.removesuffix("*") for pattern in setuptools["packages"]["find"]["include"]):
        assert (ROOT / package / "py.typed").exists()
        assert "py.typed" in setuptools["package-data"][package]


def test_hooks_run_the_commands_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    commands = [line.strip().replace("$(BIN)/", ".venv/bin/") for line in recipe[1].splitlines()]
    fixing = {"--fix", "--force-exclude"}  # a hook mends files, `make lint` only checks them
    hooked = [" ".join(word for word in hook["entry"].split() if word not in fixing) for hook in hooks]
    assert hooked == [command.removesuffix(" --check") for command in commands]


def test_versions_of_the_changelog_fall_and_each_change_has_a_kind() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert len(headings) == len(re.findall(r"^## ", text, re.MULTILINE))
    assert headings[0] == ("Unreleased", "")
    versions = [tuple(map(int, version.split("."))) for version, _ in headings[1:]]
    assert versions == sorted(versions, reverse=True)
    assert all(date for _, date in headings[1:])
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_markers_are_registered_left_out_of_the_fast_tests_and_their_paths_exist(pyproject: dict[str, Any]) -> None:
    lines = pyproject["tool"]["pytest"]["ini_options"]["markers"]
    registered = {line.partition(":")[0] for line in lines}
    left_out = re.search(r"^NOT_FAST := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert left_out is not None
    not_fast = set(left_out[1].split(" or "))
    assert not_fast == registered - {"shared_data"}
    assert {*MARKED_FIXTURES.values(), *MARKED_PATHS.values()} <= not_fast
    for path in MARKED_PATHS:
        assert (TESTS / path).exists(), path
