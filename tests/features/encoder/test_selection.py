"""The choice of an encoder, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.encoder.query_encoder import Distilled, save_distilled
from features.encoder.selection import Adopted, adopt, in_use, located, named, read_adopted
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


def choice(workspace: Workspace, **changed: str) -> Adopted:
    files = {"finetuned-a/model.safetensors": sha256_of(workspace.encoders / "finetuned-a" / "model.safetensors")}
    told = {"base": DEFAULTS.model, "model": named("finetuned-a"), "sha256": "aa", "head": "", **changed}
    return Adopted(files=files, **told)


def test_without_a_choice_the_settings_rule(workspace: Workspace) -> None:
    assert read_adopted(workspace, DEFAULTS.model) is None
    assert in_use(DEFAULTS, None) is DEFAULTS
    assert located(workspace, DEFAULTS) is DEFAULTS


def test_what_was_adopted_stands_in_for_its_base_alone(workspace: Workspace) -> None:
    adopted = choice(workspace)
    adopt(workspace, adopted)
    assert read_adopted(workspace, DEFAULTS.model) == adopted
    assert read_adopted(workspace, "another/model") is None
    used = in_use(DEFAULTS, adopted)
    assert (used.model, used.sha256, used.dim) == ("workspace:finetuned-a", "aa", 8)
    assert located(workspace, used).model == str(workspace.encoders / "finetuned-a")


def test_a_head_alone_leaves_the_encoder_and_its_digest(workspace: Workspace) -> None:
    assert in_use(DEFAULTS, choice(workspace, model=DEFAULTS.model, head="finetuned-a")) is DEFAULTS


@pytest.mark.parametrize(("teacher", "kept"), [("aa", True), ("00", False)])
def test_a_student_reads_queries_for_its_own_teacher_alone(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture, teacher: str, kept: bool
) -> None:
    save_distilled(Distilled("bb", teacher, 8), tmp_path)
    asked = DEFAULTS.model_copy(update={"query_model": str(tmp_path)})
    assert in_use(asked, choice(workspace)).query_model == (str(tmp_path) if kept else "")
    assert ("query model left out" in caplog.text) != kept
    in_int8 = DEFAULTS.model_copy(update={"query_model": "int8"})
    assert in_use(in_int8, choice(workspace)).query_model == "int8"


def test_a_file_that_is_not_as_adopted_is_refused(workspace: Workspace) -> None:
    adopt(workspace, choice(workspace))
    file = workspace.encoders / "finetuned-a" / "model.safetensors"
    file.write_bytes(b"weight5")
    with pytest.raises(EncoderError, match=r"model.safetensors: altered: .*, adopted with .*; run `recsys finetune`"):
        read_adopted(workspace, DEFAULTS.model)
    assert read_adopted(workspace, "another/model") is None  # nobody asks for it
    file.unlink()
    with pytest.raises(EncoderError, match=r"model.safetensors: missing, 1 of 1 files"):
        read_adopted(workspace, DEFAULTS.model)


@pytest.mark.parametrize("content", ["", "[]", '{"base": "b"}'])
def test_a_damaged_choice_is_refused(content: str, workspace: Workspace) -> None:
    workspace.current_encoder.write_text(content)
    with pytest.raises(EncoderError, match=r"current.json: not the choice of an encoder .*, or delete "):
        read_adopted(workspace, DEFAULTS.model)


@pytest.mark.parametrize("name", ["", "gone", "..", "../shop", "finetuned-a/"])
def test_a_folder_that_is_none_of_the_workspace_is_refused(name: str, workspace: Workspace) -> None:
    with pytest.raises(EncoderError, match="there are: finetuned-a"):
        located(workspace, DEFAULTS.model_copy(update={"model": f"workspace:{name}"}))
