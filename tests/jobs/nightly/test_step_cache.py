"""Steps whose results are kept by what they were made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import jobs.nightly.step_cache
from jobs.nightly.step_cache import (
    COUNTED_FOLDERS,
    OUTPUT_FILE,
    UNCOUNTED_FOLDERS,
    Output,
    Step,
    StepCache,
    StepOutputWriter,
    changed,
    code_digest,
    key_of,
    rules_of,
)
from recsys.config import Settings


@dataclass
class Kitchen:
    """What the steps below share: flour goes in, and each baking is remembered."""

    flour: str = "rye"
    baked: list[str] = field(default_factory=list)


def bake(kitchen: Kitchen, draft: StepOutputWriter) -> Mapping[str, int]:
    kitchen.baked.append(kitchen.flour)
    (draft.folder / "loaf").mkdir()
    (draft.folder / "loaf" / "crumb.txt").write_text(kitchen.flour)
    return {"loaves": 1}


BAKE = Step[Kitchen]("bake", bake, settings=("text",), also=lambda kitchen: {"flour": kitchen.flour})
SLICE = Step[Kitchen]("slice", bake, reads=("bake",))


def run(outputs: StepCache, kitchen: Kitchen, settings: Settings | None = None) -> Output:
    """As a nightly run does: the cached result, else a new one."""
    inputs = BAKE.inputs(kitchen, {}, settings or Settings())
    return outputs.find("bake", key_of("bake", inputs)) or outputs.make(BAKE, kitchen, inputs)


@pytest.fixture
def outputs(tmp_path: Path) -> StepCache:
    return StepCache(tmp_path / "steps")


def test_a_result_of_the_same_inputs_is_reused(outputs: StepCache) -> None:
    kitchen = Kitchen()
    first, second = run(outputs, kitchen), run(outputs, kitchen)
    assert kitchen.baked == ["rye"]
    assert first == second
    assert second.counts == {"loaves": 1}
    assert (outputs.folder(second) / "loaf" / "crumb.txt").read_text() == "rye"


def test_another_input_a_setting_or_other_code_makes_it_anew(
    outputs: StepCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen = Kitchen()
    run(outputs, kitchen)
    run(outputs, Kitchen("wheat", kitchen.baked))
    assert kitchen.baked == ["rye", "wheat"]
    run(outputs, kitchen, Settings.model_validate({"text": {"token_budget": 64}}))
    run(outputs, kitchen, Settings(seed=1))
    assert len(kitchen.baked) == 4
    run(outputs, kitchen, Settings.model_validate({"serve": {"port": 9000}}))  # no section of this step
    assert len(kitchen.baked) == 4
    monkeypatch.setattr(jobs.nightly.step_cache, "versions", lambda: {"code": "other"})
    run(outputs, kitchen)
    assert len(kitchen.baked) == 5


def test_a_step_hangs_on_what_came_out_of_another_not_on_how(outputs: StepCache) -> None:
    rye = run(outputs, Kitchen())
    again = run(outputs, Kitchen(), Settings.model_validate({"text": {"token_budget": 64}}))
    wheat = run(outputs, Kitchen("wheat"))
    inputs = [SLICE.inputs(Kitchen(), {"bake": output}, Settings()) for output in (rye, again, wheat)]
    assert rye.key != again.key
    assert inputs[0] == inputs[1]
    assert changed(inputs[2], inputs[0]) == ["step bake"]
    assert rules_of(inputs[2]) == rules_of(inputs[0])


def damage_byte(folder: Path) -> None:
    (folder / "loaf" / "crumb.txt").write_text("ryf")


def damage_gone(folder: Path) -> None:
    (folder / "loaf" / "crumb.txt").unlink()


def damage_record(folder: Path) -> None:
    (folder / OUTPUT_FILE).write_text('{"step": "bake"')


@pytest.mark.parametrize("damage", [damage_byte, damage_gone, damage_record])
def test_a_damaged_result_is_made_again(damage, outputs: StepCache, caplog: pytest.LogCaptureFixture) -> None:
    kitchen = Kitchen()
    folder = outputs.folder(run(outputs, kitchen))
    damage(folder)
    again = run(outputs, kitchen)
    assert kitchen.baked == ["rye", "rye"]
    assert "step_output_damaged step=bake" in caplog.text
    assert (outputs.folder(again) / "loaf" / "crumb.txt").read_text() == "rye"
    assert run(outputs, kitchen) == again


def test_a_crash_before_the_rename_leaves_nothing_that_is_taken(
    outputs: StepCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen = Kitchen()

    def power_cut(self: Path, target: Path) -> Path:
        if target.parent.name == "bake":
            raise KeyboardInterrupt
        return target

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", power_cut)
        run(outputs, kitchen)
    assert outputs.newest("bake") is None
    output = run(outputs, kitchen)
    assert kitchen.baked == ["rye", "rye"]
    assert [path.name for path in outputs.folder(output).parent.iterdir()] == [output.key]


def test_old_results_and_what_killed_runs_left_are_removed(outputs: StepCache) -> None:
    old, new = run(outputs, Kitchen("old")), run(outputs, Kitchen("new"))
    (outputs.folder(new).with_name(".draft-x")).mkdir()
    assert outputs.newest("bake") == new
    outputs.remove_all_but({new.key})
    assert outputs.find("bake", old.key) is None
    assert [path.name for path in outputs.folder(new).parent.iterdir()] == [new.key]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree of the project's folders, with one module in each folder that counts."""
    for folder in (*COUNTED_FOLDERS, *UNCOUNTED_FOLDERS):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "present.py").write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize("folder", [*COUNTED_FOLDERS, "recsys/sequence", "features/store", "jobs/ingest/sources"])
def test_a_new_file_in_a_folder_of_the_steps_changes_the_digest(tree: Path, folder: str) -> None:
    before = code_digest(tree)
    (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / folder / "new.py").write_text("")
    assert code_digest(tree) != before


@pytest.mark.parametrize(
    "folder", [*UNCOUNTED_FOLDERS, "docs", "jobs", "jobs/cli", "jobs/bench", "jobs/simulation", "serving", "tests"]
)
def test_a_new_file_that_no_step_runs_leaves_the_digest(tree: Path, folder: str) -> None:
    before = code_digest(tree)
    (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / folder / "new.py").write_text("")
    assert code_digest(tree) == before


def test_a_renamed_or_changed_module_changes_the_digest(tree: Path) -> None:
    before = code_digest(tree)
    module = tree / "recsys" / "present.py"
    renamed = module.rename(tree / "recsys" / "renamed.py")
    assert code_digest(tree) != before
    renamed.rename(module)
    assert code_digest(tree) == before
    module.write_text("x = 2\n")
    assert code_digest(tree) != before


def test_the_folders_that_count_are_there() -> None:
    root = Path(jobs.nightly.step_cache.__file__).parents[2]
    assert [name for name in (*COUNTED_FOLDERS, *UNCOUNTED_FOLDERS) if not (root / name).is_dir()] == []
