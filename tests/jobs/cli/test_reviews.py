import json
from collections.abc import Callable
from pathlib import Path

import pytest

from features.workspace.hidden_reviews import hidden_ids
from jobs.__main__ import main
from recsys.workspace import Workspace

REVIEWS = "review_id,user_id,item_id,rating,title,text,timestamp\nr1,ann,boot,5,,Warm and dry,2024-01-01T00:00:00Z\n"


def test_reviews_are_hidden_listed_and_shown(
    workspace: Workspace,
    write_file: Callable[[str, str], Path],
    ingest_table: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ingest_table(reviews=write_file("r.csv", REVIEWS))
    place = ["--workspace", str(workspace.root)]
    assert main(["reviews", "hide", "r1", "r2", *place]) == 0
    assert "no review in the lake has the id 'r2'; check it" in capsys.readouterr().err
    assert hidden_ids(workspace.hidden_reviews) == {"r1", "r2"}

    assert main(["reviews", "list", *place]) == 0
    shown = capsys.readouterr().out
    assert "r1" in shown and "r2" in shown

    assert main(["reviews", "show", "r2", *place]) == 0
    capsys.readouterr()
    assert main(["reviews", "list", *place, "--json"]) == 0
    assert [review["review_id"] for review in json.loads(capsys.readouterr().out)] == ["r1"]


def test_a_known_review_is_hidden_without_a_warning(
    workspace: Workspace,
    write_file: Callable[[str, str], Path],
    ingest_table: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ingest_table(reviews=write_file("r.csv", REVIEWS))
    capsys.readouterr()
    assert main(["reviews", "hide", "r1", "--workspace", str(workspace.root)]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


def test_reviews_are_hidden_before_the_first_ingest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--workspace", str(tmp_path / "new")]
    assert main(["reviews", "hide", "r1", *place]) == 0
    assert hidden_ids(tmp_path / "new" / "hidden-reviews.json") == {"r1"}
    assert main(["reviews", "show", "r9", *place]) == 2
    assert "review 'r9' is not hidden" in capsys.readouterr().err
