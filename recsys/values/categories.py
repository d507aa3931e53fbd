"""Category paths from what shops write: `A > B`, `A/B/C;D`, `Default Category/A/B,Default Category`, lists of lists.

The result is a path, general to special, joined by " > ". Where a text holds several paths, it is the longest, and the
first of equally long ones.

* `>` always separates steps; then `/` belongs to names.
* `/` separates steps where there are at least two, where the path begins with `/` or a root of `ROOTS`, or where
  several paths stand beside each other and each has one: `Shoes/Boots;Sale/Boots`. So `AC/DC` and `Coats / Jackets` are
  names. Where ` / ` with spaces occurs, a `/` without belongs to a name.
* `;`, `|` and line ends separate paths. A comma does where each part has steps or is the beginning of another one:
  `Clothing > Hoodies, Sale > Hoodies` and `Clothing, Clothing > Hoodies`, but not `Kitchen, Dining` and not
  `Food, Drinks > Tea`. An escaped `\\,` belongs to a name.
* A root that all products share is dropped from longer paths: `ROOTS`, and `Home` where `/` separates the steps. A list
  or `Home > Lamps` keeps its `Home`, which may be a department.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import polars as pl

ROOTS: Final = frozenset(("default category", "root catalog", "root category", "root"))
HOME: Final = "home"

Path = tuple[str, ...]
Clean = Callable[[str], str]


def parse_categories(series: pl.Series, clean: Clean = html.unescape) -> pl.Series:
    """The longest path of each text, null where there is none; each distinct text is parsed once.

    clean: makes plain text of the names, which may hold entities or markup.
    """
    distinct = series.drop_nulls().unique()
    paths = [category_path(text, clean) for text in distinct]
    return series.replace_strict(distinct, pl.Series(paths, dtype=pl.String), default=None, return_dtype=pl.String)


def category_path(text: str, clean: Clean = html.unescape) -> str | None:
    """The longest path of a text or of a list in JSON or Python's notation; None where it holds no name."""
    value = parsed_list(text.strip())
    if not isinstance(value, list):
        return longest_path(text, clean=clean)
    texts = [part for part in value if isinstance(part, str)]
    has_paths = sum(">" in part for part in texts) > 1
    several = value if has_paths or any(isinstance(part, list) for part in value) else [value]
    return _longest([_listed(part, clean) for part in several])


def longest_path(text: str, *, between: str = "", steps: str = "", clean: Clean = html.unescape) -> str | None:
    """The longest of the paths in a text, None where it holds no name.

    between: characters that separate paths for certain, instead of the rules above; `\\,` is a comma in a name. steps:
    characters that separate steps for certain.
    """
    if "<" in text or "&" in text:
        text = clean(text)
    if between:
        separator = rf"(?<!\\)[{re.escape(between)}]"
        texts = [part.replace("\\,", ",") for part in re.split(separator, text)]
    else:
        texts = _separate(text)
    if steps:
        paths = [_path(re.split(f"[{re.escape(steps)}]", part), with_home="/" not in steps) for part in texts]
    else:
        paths = _stepped(texts)
    return _longest(paths)


def parsed_list(text: str) -> Any:
    """The list or object in a text, as JSON or as a Python literal; else the text itself."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return text


def _listed(value: Any, clean: Clean) -> Path:
    parts = value if isinstance(value, list) else [value]
    names = [clean(str(part)) for part in parts if part is not None]
    return _path([step for name in names for step in name.split(">")], with_home=True)


def _separate(text: str) -> list[str]:
    """The texts of the paths in a text."""
    texts = [part for part in re.split(r"[;|\n]", text) if part.strip()]
    if len(texts) != 1 or "," not in text:
        return texts
    parts = [part.strip() for part in re.split(r"(?<!\\),", text) if part.strip()]
    starts = {re.split("[>/]", part)[0].strip() for part in parts if _has_steps(part)}
    if starts and all(_has_steps(part) or part in starts for part in parts):
        return [part.replace("\\,", ",") for part in parts]
    return [text.replace("\\,", ",")]


def _has_steps(text: str) -> bool:
    return ">" in text or _is_slash_path(text) or bool(re.fullmatch(r"[^\s/]+/[^\s/]+", text))


def _is_slash_path(text: str) -> bool:
    if "://" in text:
        return False
    slashes = text.count(" / ") or text.count("/")
    return slashes > 1 or text.startswith("/") or text.split("/")[0].strip().casefold() in {*ROOTS, HOME}


def _stepped(texts: Sequence[str]) -> list[Path]:
    has_slashes = len(texts) > 1 and all("/" in text and "://" not in text for text in texts)
    paths = []
    for text in texts:
        if ">" in text:
            paths.append(_path(text.split(">"), with_home=True))
        elif has_slashes or _is_slash_path(text):
            paths.append(_path(text.split(" / " if " / " in text else "/"), with_home=False))
        else:
            paths.append(_path([text], with_home=True))
    return paths


def _path(names: Sequence[str], *, with_home: bool) -> Path:
    """The names that are not blank, without a root that a longer path begins with."""
    path = tuple(name for part in names if (name := " ".join(part.split())))
    roots = ROOTS if with_home else {*ROOTS, HOME}
    while len(path) > 1 and path[0].casefold() in roots:
        path = path[1:]
    return path


def _longest(paths: Sequence[Path]) -> str | None:
    if not paths:
        return None
    longest = max(paths, key=len)
    return " > ".join(longest) or None
