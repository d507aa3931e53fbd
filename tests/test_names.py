"""Names that say something, and files and functions of a readable size."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tracked_files import PACKAGES, ROOT, modules

BANNED: Final = frozenset({"told", "said", "made", "kept", "asked", "found", "one", "own", "theirs", "gone", "wanted"})
"""Each of them stood for many things at once; name what the value is instead."""

MAX_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 50


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every variable, parameter, attribute, function, class and alias that a module binds."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name


def banned_names(source: str) -> list[tuple[int, str]]:
    """The banned names that a module binds, whatever their case and leading underscores."""
    return [(line, name) for line, name in bound_names(ast.parse(source)) if name.strip("_").lower() in BANNED]


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_no_name_is_one_of_the_banned_words(folder: str) -> None:
    uses = [
        f"{path}:{line}: {name}"
        for path in modules(folder)
        for line, name in banned_names((ROOT / path).read_text(encoding="utf-8"))
    ]
    assert uses == [], "name what the value is"


def test_no_file_is_named_by_one_of_the_banned_words() -> None:
    assert [path for path in modules(*PACKAGES, "tests") if Path(path).stem.strip("_").lower() in BANNED] == []


def test_a_banned_name_is_seen_wherever_it_is_bound() -> None:
    source = """
import os as own
class Told:
    kept: int
def f(asked, *, wanted=1):
    found = [one for one in asked]
    self._gone = found
    try: pass
    except OSError as said: pass
def made(): pass
"""
    assert {name.strip("_").lower() for _, name in banned_names(source)} == BANNED - {"theirs"}
    assert banned_names("x.found.one = print(kept, asked=1)  # told") == [(1, "one")]


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_files_are_short(folder: str) -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in modules(folder)}
    assert {path: n for path, n in lengths.items() if n > MAX_LINES and not is_generated(path)} == {}


@pytest.mark.parametrize("folder", PACKAGES)
def test_functions_fit_on_a_screen(folder: str) -> None:
    assert [
        f"{path}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in modules(folder)
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ] == []


def is_generated(path: str) -> bool:
    """Whether the first line says so."""
    with (ROOT / path).open(encoding="utf-8") as file:
        return re.search(r"generated", file.readline(), re.IGNORECASE) is not None
