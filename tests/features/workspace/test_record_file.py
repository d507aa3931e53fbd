import logging
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from features.workspace.record_file import RecordFile


@dataclass(frozen=True)
class Note:
    text: str
    value: float | None = None


NOTES = RecordFile("note.json", TypeAdapter(Note))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    NOTES.write(tmp_path, Note("zoë", 0.5))
    assert NOTES.read(tmp_path) == NOTES.find(tmp_path) == Note("zoë", 0.5)


def test_undefined_numbers_become_null(tmp_path: Path) -> None:
    NOTES.write(tmp_path, Note("x", math.inf))
    assert NOTES.read(tmp_path) == Note("x", None)


def test_the_first_folder_with_a_readable_record_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    damaged, whole = tmp_path / "damaged", tmp_path / "whole"
    damaged.mkdir()
    whole.mkdir()
    (damaged / NOTES.name).write_text("{")
    (whole / NOTES.name).write_text('{"text": "a", "of a later version": 1}')
    assert NOTES.find(tmp_path / "missing", damaged, whole) == Note("a")
    assert f"record_unreadable path={damaged / NOTES.name}" in caplog.text
    assert NOTES.find(damaged) is None and NOTES.find() is None


def test_a_missing_and_a_damaged_record_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        NOTES.read(tmp_path)
    (tmp_path / NOTES.name).write_text("[]")
    with pytest.raises(ValueError, match="Note"):
        NOTES.read(tmp_path)
