"""Keys of settings that were renamed, and how settings are read that an earlier version stored.

A settings file or a variable with an old key is refused with the new one (`recsys/settings_file.py`). What was stored
with a release is not written by hand, so there an old key is read as the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from pydantic_core import from_json

from recsys.config.settings import Settings

RENAMED: Final[Mapping[str, str]] = {
    "checks.foresight": "checks.served_auc",
    "checks.foresight_users": "checks.served_auc_users",
    "checks.items_gone": "checks.unavailable_items",
    "checks.letters": "checks.letter_mix",
    "checks.one_user": "checks.top_user_share",
    "checks.paid": "checks.purchase_value",
    "complements.max_likeness": "complements.max_similarity",
    "finetune.accumulate": "finetune.gradient_accumulation_steps",
    "finetune.contrastive.kept": "finetune.contrastive.weight_averaging",
    "finetune.sentiment.words": "finetune.sentiment.bag_of_words",
    "gate.level": "gate.confidence_level",
    "ingest.keep_undo": "ingest.undo_history",
    "interactions.returned": "interactions.return_factor",
    "nightly.relearn_days": "nightly.full_retrain_days",
    "nightly.relearn_share": "nightly.full_retrain_share",
    "nightly.touch_up_epochs": "nightly.continue_epochs",
    "nightly.touch_up_pace": "nightly.continue_lr_factor",
    "recommend.sentence_weight": "recommend.query_text_weight",
}
"""Old key: new key. Each stays in its section; meanings and defaults are unchanged."""


def read_stored(text: str | bytes) -> Settings:
    """Settings from the JSON that this or an earlier version stored, such as `Settings.release_json` of a release.

    Keys that were renamed are read under their new name, and keys that no longer exist are ignored: a release that was
    made when there were other settings can still be served and rolled back to. Raises ValueError (pydantic's
    ValidationError is one) for text that is not JSON, or not valid settings.
    """
    return Settings.model_validate(with_new_keys(from_json(text)), extra="ignore")


def with_new_keys(tree: Any) -> Any:
    """A copy of the tree with new keys in place of old ones. Where both are there, the new one counts."""
    tree = deepcopy(tree)
    for old, new in RENAMED.items():
        *path, old_name = old.split(".")
        section = tree
        for name in path:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and old_name in section:
            section.setdefault(new.split(".")[-1], section.pop(old_name))
    return tree
