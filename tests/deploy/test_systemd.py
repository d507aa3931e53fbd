"""Units and crontab for one machine: what they run is there, and what they are given are settings."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from manifests import DEPLOY, parsed

from recsys.settings_file import load_settings

UNITS = sorted((DEPLOY / "systemd").glob("recsys*"))
EXAMPLE = DEPLOY / "systemd" / "environment.example"


def unit(path: Path) -> configparser.ConfigParser:
    content = configparser.ConfigParser(interpolation=None, strict=True)
    content.optionxform = str  # type: ignore[assignment,method-assign]
    content.read_string(path.read_text())
    return content


def test_units_run_commands_of_recsys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_WORKSPACE", "/var/lib/recsys/shop")
    cron = [line for line in (DEPLOY / "systemd" / "crontab.example").read_text().splitlines() if line[0].isdigit()]
    services = [path for path in UNITS if path.suffix == ".service"]
    started = [unit(path)["Service"]["ExecStart"] for path in services]
    assert [parsed(command.split()[1:]) for command in started] == ["recsys nightly", "recsys serve"]
    (line,) = cron
    assert parsed(line.partition("/recsys ")[2].partition(" >>")[0].split()) == "recsys nightly"
    assert {unit(path)["Service"]["EnvironmentFile"] for path in services} == {"/etc/recsys/environment"}


def test_the_timer_starts_the_night_and_makes_up_for_a_missed_one() -> None:
    (timer,) = [path for path in UNITS if path.suffix == ".timer"]
    assert timer.with_suffix(".service") in UNITS
    assert unit(timer)["Timer"]["Persistent"] == "true"


def test_the_example_holds_settings_and_no_password() -> None:
    lines = [line.removeprefix("# ") for line in EXAMPLE.read_text().splitlines()]
    given = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    load_settings(None, given)
    assert re.search("//USER:PASSWORD@", given["RECSYS_SERVE__EVENTS_URL"])


def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    for path in UNITS:  # as on a machine where the program is installed
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/recsys/bin/recsys", "/bin/true"))
    command = [analyze, "verify", *(str(tmp_path / path.name) for path in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not re.search("Unknown|Failed to parse|Invalid", done.stderr), done.stderr
