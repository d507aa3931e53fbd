import tomllib
from pathlib import Path

from recsys.config import Settings

DOCUMENTED = Path(__file__).parents[2] / "recsys.toml"


def test_the_documented_settings_are_all_settings_with_their_defaults() -> None:
    documented = tomllib.loads(DOCUMENTED.read_text())
    assert documented == Settings().model_dump(mode="json")


def test_every_documented_setting_says_what_it_is() -> None:
    for line in DOCUMENTED.read_text().splitlines():
        if " = " in line and not line.startswith("#"):
            assert "  # " in line, f"no comment on: {line}"


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
