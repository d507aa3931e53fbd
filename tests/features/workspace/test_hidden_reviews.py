from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.workspace.hidden_reviews import HiddenReview, hidden_ids, hide_reviews, read_hidden, show_reviews
from recsys.errors import DataError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hidden-reviews.json"


def test_without_a_file_nothing_is_hidden(file: Path) -> None:
    assert read_hidden(file) == ()


def test_what_is_hidden_stays_so_since_it_was_and_what_is_shown_goes(file: Path) -> None:
    hide_reviews(file, ["r1", "ø/2", "r1"], NOON)
    hide_reviews(file, ["r3", "r1"], LATER)
    assert read_hidden(file) == (HiddenReview("r1", NOON), HiddenReview("ø/2", NOON), HiddenReview("r3", LATER))
    show_reviews(file, ["r1", "r3"], LATER)
    assert hidden_ids(file) == {"ø/2"}


def test_what_is_not_hidden_cannot_be_shown_and_nothing_changes(file: Path) -> None:
    hide_reviews(file, ["r1"], NOON)
    with pytest.raises(DataError, match="review 'r2' is not hidden"):
        show_reviews(file, ["r1", "r2"], LATER)
    assert hidden_ids(file) == {"r1"}


@pytest.mark.parametrize("content", ["", "{}", '{"version": 2, "reviews": []}', '{"version": 1, "reviews": ["r1"]}'])
def test_a_damaged_file_is_told_of_and_not_written_over(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(DataError, match=r"hidden-reviews\.json"):
        hide_reviews(file, ["r1"], NOON)
    assert file.read_text() == content
