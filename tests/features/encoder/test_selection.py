"""The selection of an encoder, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.encoder.query_encoder import Distilled, save_distilled
from features.encoder.selection import (
    SelectedEncoder,
    effective_settings,
    read_selected,
    resolve_path,
    select_encoder,
    workspace_model,
)
from features.workspace.atomic_files import sha256_of
from recsys import config
from recsys.errors import EncoderError
from recsys.workspace import Workspace

DEFAULTS = config.EncoderSettings(dim=8, sha256="00")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "shop")
    folder = workspace.encoders / "finetuned-a"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    return workspace


def choice(workspace: Workspace, **changed: str) -> SelectedEncoder:
    files = {"finetuned-a/model.safetensors": sha256_of(workspace.encoders / "finetuned-a" / "model.safetensors")}
    fields = {"base": DEFAULTS.model, "model": workspace_model("finetuned-a"), "sha256": "aa", "head": "", **changed}
    return SelectedEncoder(files=files, **fields)


def test_without_a_choice_the_settings_rule(workspace: Workspace) -> None:
    assert read_selected(workspace, DEFAULTS.model) is None
    assert effective_settings(DEFAULTS, None) is DEFAULTS
    assert resolve_path(workspace, DEFAULTS) is DEFAULTS


def test_what_was_adopted_stands_in_for_its_base_alone(workspace: Workspace) -> None:
    selected = choice(workspace)
    select_encoder(workspace, selected)
    assert read_selected(workspace, DEFAULTS.model) == selected
    assert read_selected(workspace, "another/model") is None
    used = effective_settings(DEFAULTS, selected)
    assert (used.model, used.sha256, used.dim) == ("workspace:finetuned-a", "aa", 8)
    assert resolve_path(workspace, used).model == str(workspace.encoders / "finetuned-a")


def test_a_head_alone_leaves_the_encoder_and_its_digest(workspace: Workspace) -> None:
    assert effective_settings(DEFAULTS, choice(workspace, model=DEFAULTS.model, head="finetuned-a")) is DEFAULTS


@pytest.mark.parametrize(("teacher", "is_used"), [("aa", True), ("00", False)])
def test_a_student_reads_queries_for_its_own_teacher_alone(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture, teacher: str, is_used: bool
) -> None:
    save_distilled(Distilled("bb", teacher, 8), tmp_path)
    with_student = DEFAULTS.model_copy(update={"query_model": str(tmp_path)})
    assert effective_settings(with_student, choice(workspace)).query_model == (str(tmp_path) if is_used else "")
    assert ("query model dropped" in caplog.text) != is_used
    in_int8 = DEFAULTS.model_copy(update={"query_model": "int8"})
    assert effective_settings(in_int8, choice(workspace)).query_model == "int8"


def test_a_file_that_is_not_as_adopted_is_refused(workspace: Workspace) -> None:
    select_encoder(workspace, choice(workspace))
    file = workspace.encoders / "finetuned-a" / "model.safetensors"
    file.write_bytes(b"weight5")
    with pytest.raises(EncoderError, match=r"model.safetensors: altered: .*, expected .*; run `recsys finetune`"):
        read_selected(workspace, DEFAULTS.model)
    assert read_selected(workspace, "another/model") is None  # nobody asks for it
    file.unlink()
    with pytest.raises(EncoderError, match=r"model.safetensors: missing, 1 of 1 files"):
        read_selected(workspace, DEFAULTS.model)


@pytest.mark.parametrize("content", ["", "[]", '{"base": "b"}'])
def test_a_damaged_choice_is_refused(content: str, workspace: Workspace) -> None:
    workspace.current_encoder.write_text(content)
    with pytest.raises(EncoderError, match=r"current.json: not a valid encoder selection .*, or delete "):
        read_selected(workspace, DEFAULTS.model)


@pytest.mark.parametrize("name", ["", "gone", "..", "../shop", "finetuned-a/"])
def test_a_folder_that_is_none_of_the_workspace_is_refused(name: str, workspace: Workspace) -> None:
    with pytest.raises(EncoderError, match="available: finetuned-a"):
        resolve_path(workspace, DEFAULTS.model_copy(update={"model": f"workspace:{name}"}))
