import json
from pathlib import Path

import pytest

from features.workspace.api_keys import digest, read_keys
from jobs.__main__ import main


def test_a_key_is_made_shown_once_listed_and_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--workspace", str(tmp_path)]
    options = ["--scope", "read", "--scope", "write", "--expires", "2999-01-01", "--requests-per-s", "5"]
    assert main(["keys", "create", "shop", *place, *options]) == 0
    secret = capsys.readouterr().out.strip()
    (key,) = read_keys(tmp_path / "keys.json")
    assert key.sha256 == digest(secret.encode())

    assert main(["keys", "list", *place]) == 0
    shown = capsys.readouterr().out
    assert "shop" in shown and "read write" in shown and "2999-01-01" in shown and "valid" in shown
    assert secret not in shown

    assert main(["keys", "revoke", "shop", *place]) == 0
    capsys.readouterr()
    assert main(["keys", "list", *place, "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["state"], listed["requests_per_s"]) == ("shop", "revoked", 5.0)


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--workspace", str(tmp_path)]
    assert main(["keys", "revoke", "shop", *place]) == 2
    assert main(["keys", "create", "shop", *place, "--expires", "soon"]) == 2
    assert main(["keys", "create", "shop", *place, "--scope", "everything"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "no valid key named 'shop'" in errors[0]
    assert "--expires 'soon': not a time" in errors[1]
    assert "everything" in errors[2]
