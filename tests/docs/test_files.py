"""What the documentation says of files is true."""

import re
from pathlib import Path

import pytest
from docs.file_table import PAGE, summary, with_table
from tracked_files import PACKAGES, ROOT, modules, tracked

PAGES = [path for path in tracked("*.md") if not path.startswith("findings/")]
PATH = re.compile(
    r"(?<![\w/.:-])((?:recsys|features|serving|jobs|tests|deploy|docs|notebooks|findings)/[\w./-]*[\w/])(?![\w*{<…=])"
)
"""A path of the project, in a sentence, in backticks or as a link's target."""


def test_the_table_of_files_is_made_from_the_modules() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "docs/architecture.md is out of date: run `make generated`"


def test_every_module_says_what_it_is_for() -> None:
    assert [path for path in modules(*PACKAGES) if not summary(path)] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_files_that_exist(page: str) -> None:
    """The changelog tells of files as they were."""
    if page == "CHANGELOG.md":
        pytest.skip("the changelog names files of its time")
    named = [path for path in PATH.findall((ROOT / page).read_text(encoding="utf-8")) if "NAME" not in path]
    folders = (ROOT, (ROOT / page).parent)
    assert [path for path in named if not any((folder / path).exists() for folder in folders)] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_modules_that_exist(page: str) -> None:
    """Also where it names a file without its folder."""
    if page == "CHANGELOG.md":
        pytest.skip("the changelog names files of its time")
    names = {Path(path).name for path in tracked("*.py", "*.js", "*.ts")}
    named = re.findall(r"`([\w-]+\.(?:py|js|ts))`", (ROOT / page).read_text(encoding="utf-8"))
    assert sorted(set(named) - names) == []


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not ((ROOT / page).parent / target).exists()] == []


def test_a_path_that_is_not_there_is_seen() -> None:
    assert PATH.findall("see `serving/nowhere.py` and [x](docs/none.md)") == ["serving/nowhere.py", "docs/none.md"]
    assert not Path(ROOT / "serving/nowhere.py").exists()
