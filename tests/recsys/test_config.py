import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from recsys.config import RENAMED, LimitSettings, Settings, read_stored
from recsys.config.reference import effective_toml, settings_markdown, settings_toml

ROOT = Path(__file__).parents[2]
DOCUMENTED = ROOT / "recsys.toml"

EXPERIMENTS = {
    "mixed.home": {"share": 0.5, "arms": {"as-is": {}, "mixed": {"diversity": 0.7, "collapse_variants": False}}}
}


def sections(settings: BaseModel) -> Iterator[BaseModel]:
    yield settings
    for _, value in settings:
        if isinstance(value, BaseModel):
            yield from sections(value)


def test_the_documented_settings_are_all_settings_with_their_defaults() -> None:
    documented = tomllib.loads(DOCUMENTED.read_text())
    assert documented == Settings().model_dump(mode="json")


@pytest.mark.parametrize(("path", "text"), [("recsys.toml", settings_toml), ("docs/settings.md", settings_markdown)])
def test_the_documents_are_generated_from_the_settings(path: str, text) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == text(), f"{path} is out of date; run `make settings`"


def test_every_setting_has_a_description_that_is_a_sentence() -> None:
    for section in sections(Settings()):
        for name, field in type(section).model_fields.items():
            assert field.description and field.description.endswith("."), f"{type(section).__name__}.{name}"


def test_every_documented_setting_says_what_it_is() -> None:
    above = ""
    for line in DOCUMENTED.read_text().splitlines():
        if " = " in line and not line.startswith("#"):
            assert above.startswith("# "), f"no comment on: {line}"
        above = line


def test_the_documents_tell_the_limits() -> None:
    toml, page = settings_toml(), settings_markdown()
    assert "# Port to listen on. (integer, 1 to 65535)\nport = 8000\n" in toml
    assert "| `port` | `8000` | integer, 1 to 65535 | Port to listen on. |" in page
    assert '"auto" or number, at least 0' in toml and '"auto" or number, at least 0' in page
    assert "(number, greater than 0, less than 1)" in toml


def test_the_commented_example_is_an_experiment(tmp_path: Path) -> None:
    lines = settings_toml().splitlines()
    start = lines.index("[experiments]")
    end = next(place for place in range(start + 1, len(lines)) if not lines[place].startswith(("#", " ")))
    example = "\n".join(line.removeprefix("# ") for line in lines[start:end] if line != "#")
    read = Settings.model_validate(tomllib.loads(example))
    assert list(read.experiments["mixed-home"].arms) == ["as-is", "mixed"]


def test_effective_settings_are_toml_that_reads_back() -> None:
    settings = Settings.model_validate(
        {
            "seed": 3,
            "experiments": EXPERIMENTS,
            "encoder": {"model": 'a "quoted" \\ folder'},
            "linear": {"text_weight": 0},
        }
    )
    assert Settings.model_validate(tomllib.loads(effective_toml(settings))) == settings


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().serve.port = 1


def test_the_environment_does_not_reach_settings_made_in_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_SEED", "7")
    assert Settings().seed == Settings.model_validate({}).seed == 0


def test_equal_settings_have_equal_digests() -> None:
    assert Settings().digest() == Settings().digest()
    assert Settings(seed=1).digest() != Settings().digest()


def test_the_releases_of_all_arms_are_named() -> None:
    arms = {"a": {}, "b": {"release": "r1"}, "c": {"release": "r2"}}
    settings = Settings.model_validate({"experiments": {"one": {"arms": arms}, "two": {"arms": arms}}})
    assert settings.experiment_releases() == {"r1", "r2"}
    assert "r1" not in settings.release_json()
    assert Settings().experiment_releases() == frozenset()


def test_how_an_encoder_was_tuned_is_told_by_its_own_digest() -> None:
    settings = Settings.model_validate({"finetune": {"mode": "lora"}})
    assert settings.digest() == Settings().digest()


def test_how_a_release_is_served_does_not_travel_with_it() -> None:
    settings = Settings.model_validate({"serve": {"access_log": "/var/log/shop"}})
    assert "/var/log/shop" not in settings.release_json()
    assert settings.digest() == Settings().digest()


def at(settings: BaseModel, key: str) -> object:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def other_than_default(key: str) -> object:
    """A valid value of the setting that is not its default, as JSON has it."""
    value = at(Settings(), key)
    if isinstance(value, LimitSettings):
        return {"warn": value.warn, "stop": value.stop + 1.0}
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value * 0.5


def nested(key: str, value: object) -> dict[str, Any]:
    *path, last = key.split(".")
    tree: dict[str, Any] = {last: value}
    for name in reversed(path):
        tree = {name: tree}
    return tree


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_stored_settings_with_an_old_key_are_read_under_its_new_name(old: str, new: str) -> None:
    changed = other_than_default(new)
    stored = read_stored(json.dumps(nested(old, changed)))
    assert stored == Settings.model_validate(nested(new, changed)) != Settings()


def test_stored_settings_with_both_keys_are_read_by_the_new_one() -> None:
    text = json.dumps({"nightly": {"relearn_share": 0.5, "full_retrain_share": 0.25}})
    assert read_stored(text).nightly.full_retrain_share == 0.25


def test_stored_settings_may_have_keys_that_are_gone_and_lack_new_ones() -> None:
    stored = read_stored('{"serve": {"api_keys": 3, "port": 9000}, "recommend": {"exclude_bought": true}}')
    assert stored == Settings.model_validate({"serve": {"port": 9000}})


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"seed": -1}', '{"nightly": 3}'])
def test_stored_settings_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_stored(text)


def test_what_is_stored_with_a_release_reads_back() -> None:
    settings = Settings.model_validate({"interactions": {"return_factor": 0.5}, "text": {"token_budget": 64}})
    assert read_stored(settings.release_json()) == settings
