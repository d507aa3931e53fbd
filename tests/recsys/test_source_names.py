"""Releases of recsys 0.1 called two sources otherwise; what they stored must still load."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from recsys.config import RankingSettings
from recsys.fusion import Fusion
from recsys.ranking import Proposals, Ranker, feature_names, fit_ranker
from recsys.source_names import RENAMED_SOURCES, current_feature, current_source


def test_every_other_name_stays() -> None:
    assert [current_source(name) for name in ("again", "sentence", "text", "trending")] == [
        "buy_again",
        "query_text",
        "text",
        "trending",
    ]
    assert [current_feature(name) for name in ("again_place", "sentence_score", "text_score", "sold_3d", "stars")] == [
        "buy_again_place",
        "query_text_score",
        "text_score",
        "sold_3d",
        "stars",
    ]
    assert not RENAMED_SOURCES.keys() & set(RENAMED_SOURCES.values())


@pytest.mark.parametrize("fade", ["30.0", "inf"])
def test_fusion_weights_of_an_older_release_get_the_names_of_today(tmp_path: Path, fade: str) -> None:
    stored = {"weights": {"linear": 0.5, "again": 2.0}, "fade_items": fade, "position_decay": 0.9, "session_text": 0.1}
    (tmp_path / "fusion.json").write_text(json.dumps(stored))
    fusion = Fusion.load(tmp_path / "fusion.json")
    assert fusion == Fusion({"linear": 0.5, "buy_again": 2.0}, float(fade), 0.9, 0.1)
    fusion.save(tmp_path / "again.json")
    assert Fusion.load(tmp_path / "again.json") == fusion


def test_a_ranker_of_an_older_release_reads_the_sources_of_today(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = feature_names(["sentence", "again"], ["stars"])
    proposals = [Proposals(np.arange(20), rng.normal(size=(20, len(names))).astype(np.float32)) for _ in range(40)]
    targets = np.array([proposal.features[:, 0].argmax() for proposal in proposals])
    ranker = fit_ranker(proposals, targets, names, RankingSettings(trees=5, leaves=4, min_leaf=5), 0)
    text = ranker.text
    assert "sentence_score" in text
    (tmp_path / "ranker.txt").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")

    loaded = Ranker.load(tmp_path / "ranker.txt")
    assert list(loaded.names) == feature_names(["query_text", "buy_again"], ["stars"])
    assert loaded.reads("query_text")
    np.testing.assert_array_equal(loaded.scores(proposals[0].features), ranker.scores(proposals[0].features))
