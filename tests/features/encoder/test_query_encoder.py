"""Queries by a smaller encoder: only by one that has the same space."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from features.encoder.encoder import encoder_id, encoder_sha256, load_encoder
from features.encoder.query_encoder import Distilled, load_query_encoder, save_distilled
from features.finetune.distill import pruned
from features.finetune.export import save_encoder
from recsys.config import EncoderSettings as Settings
from recsys.errors import EncoderError

TEXTS = ["w1 w2 w3", "w4"]


def settings_of(folder: Path, **changes: object) -> Settings:
    return Settings.model_validate({"model": str(folder), "precision": "fp32", **changes})


@pytest.fixture
def student(tiny_bert: Path, tmp_path: Path) -> Path:
    """One layer of the two."""
    settings, folder = settings_of(tiny_bert), tmp_path / "student"
    digest = save_encoder(pruned(load_encoder(settings), 2), folder)
    save_distilled(Distilled(digest, encoder_sha256(settings), 16), folder)
    return folder


def test_by_default_it_is_the_encoder_itself(tiny_bert: Path) -> None:
    settings = settings_of(tiny_bert)
    assert np.array_equal(load_query_encoder(settings).encode(TEXTS), load_encoder(settings).encode(TEXTS))


def test_in_int8_it_keeps_the_encoders_id(tiny_bert: Path) -> None:
    small = load_query_encoder(settings_of(tiny_bert, query_model="int8"))
    assert small.id == encoder_id(settings_of(tiny_bert))
    in_int8 = load_encoder(settings_of(tiny_bert, precision="int8"))
    assert np.array_equal(small.encode(TEXTS), in_int8.encode(TEXTS))


def test_a_student_answers_in_its_teachers_name(tiny_bert: Path, student: Path) -> None:
    settings = settings_of(tiny_bert, query_model=str(student), dim=8)
    small = load_query_encoder(settings)
    assert small.id == encoder_id(settings)
    assert np.array_equal(small.encode(TEXTS), load_encoder(settings_of(student, dim=8)).encode(TEXTS))
    assert small.model.config.num_hidden_layers == 1  # type: ignore[union-attr]


def test_the_student_of_another_encoder_is_refused(student: Path) -> None:
    with pytest.raises(EncoderError, match=r"distilled from weights .* are not comparable; run `recsys comp"):
        load_query_encoder(Settings(query_model=str(student)))


def test_an_altered_student_is_refused(tiny_bert: Path, student: Path) -> None:
    record = json.loads((student / "distilled.json").read_text())
    (student / "distilled.json").write_text(json.dumps(record | {"sha256": "0" * 64}))
    with pytest.raises(EncoderError, match="its weights have SHA-256"):
        load_query_encoder(settings_of(tiny_bert, query_model=str(student)))


def test_a_student_of_fewer_dimensions_is_refused(tiny_bert: Path, student: Path) -> None:
    record = json.loads((student / "distilled.json").read_text())
    (student / "distilled.json").write_text(json.dumps(record | {"dim": 8}))
    with pytest.raises(EncoderError, match=r"it has 8 dimensions, but encoder\.dim needs 16; lower encoder\.dim"):
        load_query_encoder(settings_of(tiny_bert, query_model=str(student)))


@pytest.mark.parametrize("record", [None, "{", "[]", '{"sha256": "a"}'])
def test_a_folder_without_a_record_is_refused(tiny_bert: Path, tmp_path: Path, record: str | None) -> None:
    if record is not None:
        (tmp_path / "distilled.json").write_text(record)
    with pytest.raises(
        EncoderError, match=r"distilled.json, .* cannot be read .* a folder written by `recsys compress`"
    ):
        load_query_encoder(settings_of(tiny_bert, query_model=str(tmp_path)))
