import json
import tomllib
from pathlib import Path

import pytest

from jobs.__main__ import main
from jobs.cli.settings import masked
from recsys.config import Settings

ROOT = Path(__file__).parents[3]
URL = "postgresql://shop:secret@db/live"


@pytest.mark.parametrize(("name", "path"), [("toml", "recsys.toml"), ("markdown", "docs/settings.md")])
def test_the_reference_is_what_the_repository_has(name: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "reference", "--format", name]) == 0
    assert capsys.readouterr().out == (ROOT / path).read_text(encoding="utf-8")


def test_the_settings_in_force_are_shown_with_their_sources_and_without_passwords(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text(f'[serve]\nport = 9000\nevents_url = "{URL}"\n')
    monkeypatch.setenv("RECSYS_SEED", "7")
    assert main(["settings", "show", "--workspace", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"# file: {file}\n" in shown and "# variables: RECSYS_SEED\n" in shown and "secret" not in shown
    expected = {"seed": 7, "serve": {"port": 9000, "events_url": "postgresql://shop:***@db/live"}}
    assert Settings.model_validate(tomllib.loads(shown)) == Settings.model_validate(expected)

    assert main(["settings", "show", "--workspace", str(tmp_path), "--json"]) == 0
    assert Settings.model_validate(json.loads(capsys.readouterr().out)) == Settings.model_validate(expected)


def test_settings_of_no_file_are_said_to_be_of_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["settings", "show", "--workspace", str(tmp_path / "shop")]) == 0
    assert "# file: none\n" in capsys.readouterr().out


def test_wrong_settings_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recsys.toml").write_text("[nightly]\nrelearn_share = 0.1\n")
    assert main(["settings", "show", "--workspace", str(tmp_path)]) == 2
    assert "use nightly.full_retrain_share" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        (URL, "postgresql://shop:***@db/live"),
        ("postgresql://shop:p@ss:w@db:5432/live", "postgresql://shop:***@db:5432/live"),
        ("postgresql://shop@db:5432/live", "postgresql://shop@db:5432/live"),
        ("postgresql://db/live?user=shop&password=secret&x=1", "postgresql://db/live?user=shop&password=***&x=1"),
        ("sqlite:////var/lib/shop.db", "sqlite:////var/lib/shop.db"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
