"""When a candidate may take the served release's place, on the tiny storefront."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from storefronts import ITEM_IDS, NOON, item_entry, mute_sequence_model, tiny_recommender, users_with

from jobs.gate.findings import stops
from jobs.gate.quality import Comparison, SliceChange, compare, quality_findings
from jobs.gate.release_gate import judge
from jobs.gate.served_auc import served_auc
from recsys.config import GateSettings
from recsys.fusion import Fusion
from recsys.recommend import Recommender
from recsys.split import HeldOut

SHOPPERS = [f"u{row}" for row in range(60)]
BOUGHT = users_with({user_id: [item_entry("keyboard")] for user_id in SHOPPERS})
NO_TEXT = np.zeros((0, 3), dtype=np.float32)
CATEGORIES = pl.DataFrame({"item_id": ITEM_IDS, "category": ["Kitchen", "Desk", "Light", "Desk", "Kitchen"]})


def shop(**changes: object) -> Recommender:
    """Whoever has the keyboard is shown the mouse first."""
    return tiny_recommender(users=BOUGHT, **changes)  # type: ignore[arg-type]


def forgetful() -> Recommender:
    """Shows what sells, whoever asks: neither the linear model nor any text speaks."""
    weights = dict.fromkeys(Fusion().weights, 0.0) | {"popular": 1.0}
    popularity = np.array([9, 8, 7, 1, 6], dtype=np.float32)
    return shop(fusion=Fusion(weights=weights), popularity=popularity)


def held_out(item_id: str = "mouse", n: int = 60) -> HeldOut:
    targets = pl.DataFrame({"user_id": SHOPPERS[:n], "item_id": [item_id] * n, "timestamp": [NOON] * n})
    columns = ("user_id", "asked_for", "event_type", "timestamp", "item_id", "text_row")
    return HeldOut(targets.clear(), targets, NOON, pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))


def compared(candidate: Recommender, served: Recommender, choices_of: HeldOut | None = None) -> Comparison:
    return compare(candidate, served, choices_of or held_out(), NO_TEXT, CATEGORIES, GateSettings(), seed=0)


def test_an_equal_candidate_passes() -> None:
    comparison = compared(shop(), shop())
    verdict = judge(shop(), shop(), "r1", comparison, GateSettings(), seed=0)
    assert verdict.passed and verdict.outcome == "published"
    assert verdict.figures == {"neighbour_churn": 0.0, "moved_items": 0.0, "slate_churn": 0.0}
    (everybody,) = [change for change in comparison.slices if change.name == "all"]
    assert everybody.candidate == everybody.served == 1.0


def test_a_worse_candidate_is_held_back_and_says_where() -> None:
    verdict = judge(forgetful(), shop(), "r1", compared(forgetful(), shop()), GateSettings(), seed=0)
    assert verdict.outcome == "held back"
    assert verdict.reasons[0].startswith("quality, all: NDCG 0.")
    assert "served release 1.0000 on the same 60 choices" in verdict.reasons[0]
    assert any(reason.startswith("quality, category_Desk") for reason in verdict.reasons)
    assert replace(verdict, forced=True).outcome == "forced"
    record = verdict.record()
    assert record.outcome == "held back" and list(record.reasons) == verdict.reasons
    assert record.index == "none: items are searched exactly"


def test_a_better_candidate_passes() -> None:
    assert judge(shop(), forgetful(), "r1", compared(shop(), forgetful()), GateSettings(), seed=0).passed


def test_a_slice_of_few_shoppers_decides_nothing() -> None:
    few = compared(forgetful(), shop(), held_out(n=20))
    assert not stops(quality_findings(few, GateSettings()))


def test_an_item_that_the_served_release_does_not_know_is_a_miss_for_it() -> None:
    blind = shop(available=(True, True, True, False, True))  # as where the mouse were new
    (everybody, *_) = compared(shop(), blind).slices
    assert (everybody.candidate, everybody.served) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        (SliceChange("all", 500, 0.195, 0.2, -0.008, -0.001), "warning"),  # clear, and within the limit
        (SliceChange("all", 500, 0.19, 0.2, -0.018, -0.001), "stop"),
        (SliceChange("all", 500, 0.15, 0.2, -0.1, 0.001), "ok"),  # not clear
        (SliceChange("cold_user", 500, 0.18, 0.2, -0.03, -0.001), "warning"),
        (SliceChange("cold_user", 500, 0.16, 0.2, -0.06, -0.001), "stop"),
    ],
)
def test_a_loss_counts_where_it_is_clear_and_large(change: SliceChange, severity: str) -> None:
    finding, coverage = quality_findings(Comparison((change,), 10, 10), GateSettings())
    assert finding.severity == severity
    assert coverage.severity == "ok"


def test_lists_that_show_half_as_many_items_are_held_back() -> None:
    same = (SliceChange("all", 500, 0.2, 0.2, -0.01, 0.01),)
    (finding,) = stops(quality_findings(Comparison(same, 40, 100), GateSettings()))
    assert finding.name == "coverage"
    few = (SliceChange("all", 30, 0.2, 0.2, -0.01, 0.01),)
    assert not quality_findings(Comparison(few, 40, 100), GateSettings())  # so few lists cover what they happen to


def broken(vectors: np.ndarray) -> Recommender:
    model = shop().model.sequence
    return shop(sequence=replace(model, item_vectors=vectors.astype(np.float32)))


def test_vectors_that_are_no_use_are_held_back() -> None:
    good = shop().vectors
    nan, zero, one_way = good.copy(), good.copy(), np.ones_like(good) / np.sqrt(good.shape[1])
    nan[0, 0], zero[:2] = np.nan, 0.0
    for vectors, name in ((nan, "finite values"), (zero, "zero vectors"), (one_way, "vector spread")):
        findings = stops(judge(broken(vectors), None, None, None, GateSettings(), seed=0).findings)
        assert name in [finding.name for finding in findings], name
    long = stops(judge(broken(good * 1.5), None, None, None, GateSettings(), seed=0).findings)
    assert [finding.name for finding in long] == ["vector norm"]


def test_items_of_which_nothing_is_known_need_no_vector() -> None:
    model, vectors = shop().model, shop().vectors.copy()
    unknown = np.arange(len(vectors)) == 0
    popularity, whitened = np.where(unknown, 0, 1.0), np.where(unknown[:, None], 0.0, model.whitened)
    vectors[unknown] = 0.0
    sequence = replace(model.sequence, item_vectors=vectors)
    known = shop(sequence=sequence, popularity=popularity.astype(np.float32), whitened=whitened.astype(np.float32))
    assert not stops(judge(known, None, None, None, GateSettings(), seed=0).findings)


def test_an_item_space_unlike_the_served_one_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.diff.NEIGHBOURS", 1)
    text = np.eye(5, dtype=np.float32)
    pairs = [text + 0.5 * text[order] for order in ([1, 0, 3, 2, 0], [2, 3, 0, 1, 1])]
    old, new = (shop(sequence=mute_sequence_model(vectors[:, :3], vectors[:, 3:])) for vectors in pairs)
    findings = stops(judge(new, old, "r1", None, GateSettings(max_neighbour_churn=0.5), seed=0).findings)
    assert [finding.name for finding in findings] == ["neighbour churn"]


def test_a_shop_with_nothing_to_sell_is_held_back_on_its_first_run() -> None:
    verdict = judge(shop(available=(False,) * 5), None, None, None, GateSettings(), seed=0)
    (reason,) = verdict.reasons
    assert "test lists are faulty, for example unknown shopper: is empty" in reason


def choices(pairs: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame({"user_id": list(pairs), "item_id": list(pairs.values()), "timestamp": [NOON] * len(pairs)})


def test_the_auc_is_high_where_shoppers_choose_as_predicted() -> None:
    owners = {"ann": "keyboard", "bob": "kettle", "cat": "keyboard", "dan": "kettle"}
    known = tiny_recommender(users=users_with({user: [item_entry(item)] for user, item in owners.items()}))
    fitting = {"ann": "mouse", "cat": "mouse", "bob": "teapot", "dan": "teapot"}
    auc = served_auc(known, choices(fitting), 100, seed=0)
    assert auc is not None and (auc.value, auc.n) == (1.0, 4)
    swapped = served_auc(
        known, choices(dict.fromkeys(("ann", "cat"), "teapot") | dict.fromkeys(("bob", "dan"), "mouse")), 100, seed=0
    )
    assert swapped is not None and swapped.value == 0.0
    mixed = {"ann": "mouse", "cat": "teapot", "bob": "teapot", "dan": "mouse"}
    half = served_auc(known, choices(mixed), 100, seed=0)
    assert half is not None and half.value == 0.5


def test_unknown_shoppers_and_items_are_not_measured() -> None:
    known = tiny_recommender()
    assert served_auc(known, choices({"stranger": "mouse", "ann": "ghost"}), 100, seed=0) is None
    assert served_auc(known, choices({"ann": "mouse", "bob": "mouse"}), 100, seed=0) is None
