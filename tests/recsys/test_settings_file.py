from pathlib import Path

import pytest

from recsys.config import RENAMED, Settings
from recsys.errors import ConfigError
from recsys.settings_file import find_settings, load_settings


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text("[serve]\nport = 9000\n")
    assert load_settings(file, {}) == Settings.model_validate({"serve": {"port": 9000}})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text("seed = 1\n[serve]\nport = 9000\n")
    settings = load_settings(
        file, {"RECSYS_SERVE__PORT": "9001", "RECSYS_FINETUNE__STAGES": "mlm,sentiment", "HOME": "/"}
    )
    assert (settings.seed, settings.serve.port, settings.finetune.stages) == (1, 9001, ("mlm", "sentiment"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[serve]\nprot = 1\n", r"unknown setting serve\.prot; did you mean serve\.port\?"),
        ("[sreve]\nport = 1\n", r"unknown setting sreve; did you mean serve\?"),
        ("[serve]\nPORT = 1\n", r"unknown setting serve\.PORT; did you mean serve\.port\?"),
        (
            "[finetune.contrastive]\nepoch = 1\n",
            r"unknown setting finetune\.contrastive\.epoch; did you mean finetune\.contrastive\.epochs\?",
        ),
        ("[finetune.mlm]\nepochs = 0\n", r"setting finetune\.mlm\.epochs = 0: input should be greater"),
        ('[finetune]\nstages = ["nlp"]\n', r"setting finetune\.stages = 'nlp': input should be 'mlm'"),
        (
            "[experiments.mix.arms.a]\n[experiments.mix.arms.b]\ndiversty = 1\n",
            r"unknown setting experiments\.mix\.arms\.b\.diversty; did you mean experiments\.mix\.arms\.b\.diversity\?",
        ),
        ("[experiments.mix]\nshares = 1\n", r"setting experiments\.mix\.arms .*field required"),
        ("[experiments.mix]\nshare = 2\n", r"setting experiments\.mix\.share = 2: input should be less"),
        ("[experiments.mix.arms.a]\n", r"setting experiments\.mix\.arms = .* at least 2 items"),
        (
            '[experiments.mix.arms.a]\n[experiments.mix.arms.b]\nranker = "best"\n',
            r"setting experiments\.mix\.arms\.b\.ranker = 'best': input should be 'learned' or 'weighted_sum'",
        ),
        ("[serve]\nport = 0\n", r"setting serve\.port = 0: input should be greater than or equal to 1"),
        ("[serve\n", "not valid TOML"),
        ("serve = 3\n", r"setting serve = 3: input should be a section of settings"),
        ("[finetune.mlmm]\n", r"unknown setting finetune\.mlmm; did you mean finetune\.mlm\?"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(file, {})
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_variable_reaches_settings_at_any_depth_and_lists_by_commas() -> None:
    environment = {
        "RECSYS_FINETUNE__STAGES": "contrastive,sentiment",
        "RECSYS_FINETUNE__CONTRASTIVE__MATRYOSHKA_DIMS": "32,16",
        "RECSYS_FINETUNE__MLM__EPOCHS": "3",
    }
    tuned = load_settings(None, environment).finetune
    assert (tuned.stages, tuned.contrastive.matryoshka_dims, tuned.mlm.epochs) == (
        ("contrastive", "sentiment"),
        (32, 16),
        3,
    )


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^RECSYS_SERVE__PORT: setting serve\.port = 'x'"):
        load_settings(None, {"RECSYS_SERVE__PORT": "x"})


@pytest.mark.parametrize(("given", "days"), [("auto", "auto"), ("3", 3.0), ("0.5", 0.5)])
def test_a_wait_before_repeats_is_a_number_or_left_to_the_shop(given: str, days: float | str) -> None:
    assert load_settings(None, {"RECSYS_REPEATS__AFTER_DAYS": given}).repeats.after_days == days


@pytest.mark.parametrize(("given", "why"), [("soon", "a valid number"), ("-1", "greater than or equal to 0")])
def test_a_value_of_none_of_its_types_is_named_with_all_of_them(given: str, why: str) -> None:
    message = (
        rf"^RECSYS_REPEATS__AFTER_DAYS: setting repeats\.after_days = '{given}': input should be 'auto' or .*{why}"
    )
    with pytest.raises(ConfigError, match=message):
        load_settings(None, {"RECSYS_REPEATS__AFTER_DAYS": given})


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_key_is_refused_with_its_new_name(old: str, new: str, tmp_path: Path) -> None:
    section, _, name = old.rpartition(".")
    file = tmp_path / "recsys.toml"
    file.write_text(f"[{section}]\n{name} = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {})
    assert str(caught.value) == f"{file}: setting {old} was renamed to {new}; use {new}"
    before, after = (f"RECSYS_{key.replace('.', '__').upper()}" for key in (old, new))
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {before: "1"})
    assert str(caught.value) == f"{before}: setting {old} was renamed to {new}; use {after}"


def test_a_part_of_an_old_key_is_refused_with_the_same_part_of_the_new_one() -> None:
    with pytest.raises(ConfigError, match=r"use RECSYS_CHECKS__PURCHASE_VALUE__WARN$"):
        load_settings(None, {"RECSYS_CHECKS__PAID__WARN": "2"})


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RECSYS_SREVE__PORT": "1"}, "RECSYS_SREVE__PORT: unknown setting sreve; did you mean serve?"),
        ({"RECSYS_SERVE__PROT": "1"}, "RECSYS_SERVE__PROT: unknown setting serve.prot; did you mean serve.port?"),
        (
            {"RECSYS_EXPERIMENTS__MIX": "x"},
            "RECSYS_EXPERIMENTS__MIX: setting experiments.mix = 'x': ",
        ),
        (
            {"RECSYS_FINETUNE__STAGES": ""},
            "RECSYS_FINETUNE__STAGES: setting finetune.stages = '': ",
        ),
        ({"RECSYS_SEDE": "1"}, "RECSYS_SEDE: unknown setting sede; did you mean seed?"),
        ({"RECSYS_SERVE__PORT__X": "1"}, "RECSYS_SERVE__PORT__X: setting serve.port = {'x': '1'}: "),
        ({"RECSYS_SERVE": "8000"}, "RECSYS_SERVE: setting serve = '8000': input should be a section of settings"),
        ({"RECSYS_FINETUNE__STAGES": "[mlm"}, "RECSYS_FINETUNE__STAGES: setting finetune.stages = '[mlm': "),
        ({"RECSYS_FINETUNE__STAGES": "mlm,nlp"}, "RECSYS_FINETUNE__STAGES: setting finetune.stages = 'nlp': "),
        ({"RECSYS_CHECKS__VOLUME__WARN": "9"}, "RECSYS_CHECKS__VOLUME__WARN: setting checks.volume.stop is missing: "),
        (
            {"RECSYS_EXPERIMENTS__MIX__SHARE": "1"},
            "RECSYS_EXPERIMENTS__MIX__SHARE: setting experiments.mix.arms is missing",
        ),
    ],
)
def test_a_variable_that_is_wrong_is_named_with_the_key(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, environment | {"RECSYS_CACHE": "/c", "RECSYS_WORKSPACE": "w", "RECSYS_CONFIG": "c"})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_variable_changes_one_key_of_a_section_that_the_file_gives(tmp_path: Path) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text(
        "[checks]\nvolume = { warn = 3.0, stop = 6.0 }\n[experiments.mix.arms.a]\n[experiments.mix.arms.b]\n"
        'release = "r1"\n'
    )
    environment = {"RECSYS_CHECKS__VOLUME__STOP": "7", "RECSYS_EXPERIMENTS__MIX__ARMS__B__WEIGHT": "2"}
    assert load_settings(file, environment) == Settings.model_validate(
        {
            "checks": {"volume": {"warn": 3.0, "stop": 7.0}},
            "experiments": {"mix": {"arms": {"a": {}, "b": {"release": "r1", "weight": 2.0}}}},
        }
    )


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("RECSYS_FINETUNE__STAGES", "mlm, sentiment", "stages", ("mlm", "sentiment")),
        ("RECSYS_FINETUNE__STAGES", '["mlm"]', "stages", ("mlm",)),
        ("RECSYS_FINETUNE__STAGES", "mlm", "stages", ("mlm",)),
        ("RECSYS_FINETUNE__GRADIENT_CHECKPOINTING", "true", "gradient_checkpointing", True),
        ("RECSYS_FINETUNE__WARM_UP_SHARE", "0.5", "warm_up_share", 0.5),
    ],
)
def test_a_variable_gives_a_setting_of_any_type(variable: str, value: str, key: str, expected: object) -> None:
    assert getattr(load_settings(None, {variable: value}).finetune, key) == expected


def test_a_number_that_is_one_of_two_may_come_from_a_variable() -> None:
    assert load_settings(None, {"RECSYS_FINETUNE__SENTIMENT__CLASSES": "5"}).finetune.sentiment.classes == 5
    with pytest.raises(ConfigError, match=r"classes = 4: input should be 3 or 5"):
        load_settings(None, {"RECSYS_FINETUNE__SENTIMENT__CLASSES": "4"})


def test_an_empty_variable_is_an_empty_text() -> None:
    assert load_settings(None, {"RECSYS_ENCODER__MODEL": ""}).encoder.model == ""


def test_only_the_variables_that_are_handed_in_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_SEED", "7")
    assert load_settings(None, {}).seed == 0


def test_the_documented_file_gives_the_defaults() -> None:
    assert load_settings(Path(__file__).parents[2] / "recsys.toml", {}) == Settings()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such settings file"):
        load_settings(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="no such settings file"):
        load_settings(tmp_path, {})


def test_the_given_file_wins_then_the_workspaces_then_the_folders(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    of_workspace, given = tmp_path / "shop" / "recsys.toml", tmp_path / "asked.toml"
    assert find_settings(None, of_workspace) is None
    Path("recsys.toml").touch()
    assert find_settings(None, of_workspace) == Path("recsys.toml")
    of_workspace.parent.mkdir()
    of_workspace.touch()
    assert find_settings(None, of_workspace) == of_workspace
    assert find_settings(given, of_workspace) == given
