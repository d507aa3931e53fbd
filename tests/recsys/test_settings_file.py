from pathlib import Path

import pytest

from recsys.config import Settings
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
        ("[sreve]\nport = 1\n", r"unknown setting sreve"),
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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such settings file"):
        load_settings(tmp_path / "none.toml", {})


def test_the_settings_file_asked_for_wins_then_the_workspaces_then_the_folders(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    of_workspace, asked = tmp_path / "shop" / "recsys.toml", tmp_path / "asked.toml"
    assert find_settings(None, of_workspace) is None
    Path("recsys.toml").touch()
    assert find_settings(None, of_workspace) == Path("recsys.toml")
    of_workspace.parent.mkdir()
    of_workspace.touch()
    assert find_settings(None, of_workspace) == of_workspace
    assert find_settings(asked, of_workspace) == asked
