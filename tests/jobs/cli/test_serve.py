"""`recsys recommend` and `recsys serve` on the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PublishedShop

from jobs.__main__ import main


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The only line on standard error of a command that exits with 2."""
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    return lines[0]


def place(published_shop: PublishedShop) -> tuple[str, str]:
    return "--workspace", str(published_shop.workspace.root)


def test_releases_are_listed_with_the_served_one_marked(published_shop: PublishedShop, capsys) -> None:
    shown = printed(capsys, "releases", "list", *place(published_shop))
    assert published_shop.report.release_id in shown
    assert "served" in shown


def test_releases_as_json(published_shop: PublishedShop, capsys) -> None:
    (release,) = json.loads(printed(capsys, "releases", "list", "--json", *place(published_shop)))
    assert release["release_id"] == published_shop.report.release_id
    assert release["current"] is True
    assert release["rows"]["items"] == 80


def test_a_list_is_printed_as_a_table(published_shop: PublishedShop, capsys) -> None:
    shown = printed(capsys, "recommend", "--user", "stranger", "--count", "3", *place(published_shop))
    assert "not personalized: unknown user" in shown
    assert shown.count("trending") + shown.count("popular") == 3


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("recommend",), "pass at least one of --user, --text, --items"),
        (("recommend", "--user", "u", "--release", "none"), "no release none; nearest"),
        (("nightly", "--as-of", "yesterday"), "use ISO 8601 such as 2026-03-31T02:00"),
        (("recommend", "--user", "u", "--count", "0"), "--count"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    published_shop: PublishedShop, capsys, command: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, *command, *place(published_shop))


@pytest.mark.parametrize("command", [("releases", "list"), ("recommend", "--user", "u")])
def test_a_workspace_without_a_release_says_what_to_run(tmp_path: Path, capsys, command: tuple[str, ...]) -> None:
    assert "no release published yet; run `recsys nightly" in refused(capsys, *command, "--workspace", str(tmp_path))


def test_an_unknown_setting_names_the_nearest(published_shop: PublishedShop, capsys, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[factors]\ndimension = 3\n")
    message = refused(capsys, "nightly", "--config", str(file), *place(published_shop))
    assert "unknown setting factors.dimension; did you mean factors.dim?" in message


def test_serve_becomes_the_service_and_passes_on_what_it_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs", "serve", "--workspace", str(tmp_path), "--port", "8123"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("recsys: error: ")
    assert "no release published yet" in line
