import numpy as np
import pytest

from recsys.config import FairnessSettings, Settings
from recsys.fairness import (
    bands,
    broken_limits,
    category_mix,
    exposure,
    exposure_by_group,
    fairness_figures,
    miscalibration,
    popularity_groups,
)

SHOWN = np.array([[0, 1], [0, -1]])


def test_the_first_place_draws_more_attention_and_an_empty_one_none() -> None:
    second = 1 / np.log2(3)
    assert exposure(SHOWN, 3) == pytest.approx(np.array([2, second, 0]) / (2 + second))
    assert exposure(np.full((2, 2), -1), 3).tolist() == [0, 0, 0]


def test_a_group_is_told_beside_its_share_of_catalogue_and_demand() -> None:
    table = exposure_by_group(np.array([[0], [0], [1]]), ["a", "b", "b", None], np.array([1.0, 1.0, 2.0, 9.0]))
    assert table["group"].to_list() == ["a", "b"]
    assert table["n_items"].to_list() == [1, 2]
    assert table["catalogue"].to_list() == pytest.approx([1 / 3, 2 / 3])
    assert table["demand"].to_list() == [0.25, 0.75]
    assert table["exposure"].to_list() == pytest.approx([2 / 3, 1 / 3])
    assert table["ratio"].to_list() == pytest.approx([8 / 3, 4 / 9])


def test_what_nobody_chose_has_no_ratio() -> None:
    table = exposure_by_group(np.array([[0]]), ["new"], np.array([0.0]))
    assert table["ratio"].to_list() == [None]


def test_a_list_that_mirrors_its_shopper_is_calibrated_and_one_of_another_kind_is_not() -> None:
    codes = np.array([0, 1, 1, -1])
    preferred = category_mix(np.array([[0, 1, 3], [0, -1, -1], [3, -1, -1]]), np.ones((3, 3)), codes, 2)
    assert preferred.tolist() == [[0.5, 0.5], [1, 0], [0, 0]]
    same, other, unknown = miscalibration(preferred, np.array([[0.5, 0.5], [0, 1], [1, 0]]))
    assert same == 0
    assert other == pytest.approx(np.log(1 / 0.01))
    assert np.isnan(unknown)


def test_bands_go_from_low_to_high_and_leave_out_what_is_unknown() -> None:
    assert bands(np.array([3.0, 1.0, np.nan, 2.0, 4.0]), ("low", "high")) == ["high", "low", None, "low", "high"]
    assert bands(np.array([np.nan]), ("low", "high")) == [None]


def test_items_without_shoppers_are_new_and_the_rest_head_middle_and_tail() -> None:
    assert popularity_groups(np.array([0, 1, 1, 2, 3, 50])) == ["new", "tail", "tail", "tail", "middle", "head"]


def test_the_figures_that_limits_bound() -> None:
    popularity = np.array([4.0, 1.0, 0.0, 0.0])
    figures = fairness_figures(np.array([[0], [0]]), popularity, np.array([0.5, np.nan]), [0.1, 0.3])
    assert figures["coverage"] == 0.25
    assert figures["gini"] == 0.75
    assert figures["tail_ratio"] == 0.0
    assert figures["miscalibration"] == 0.5
    assert figures["worst_group"] == pytest.approx(0.5)


def test_without_shoppers_and_lists_nothing_is_unfair() -> None:
    figures = fairness_figures(np.zeros((0, 2), dtype=np.int64), np.zeros(3), np.zeros(0), [])
    assert figures == {"gini": 0.0, "coverage": 0.0, "tail_ratio": 1.0, "miscalibration": 0.0, "worst_group": 1.0}
    assert broken_limits(figures, FairnessSettings()) == []


def test_a_broken_limit_names_its_setting() -> None:
    figures = {"gini": 0.9, "coverage": 0.1, "tail_ratio": 1.0, "miscalibration": 0.2, "worst_group": 0.9}
    limits = FairnessSettings(max_gini=0.8, min_coverage=0.2, min_worst_group=0.5)
    assert broken_limits(figures, limits) == [
        "gini 0.900 is above fairness.max_gini = 0.8",
        "coverage 0.100 is below fairness.min_coverage = 0.2",
    ]


def test_limits_travel_with_no_release() -> None:
    strict = Settings.model_validate({"fairness": {"max_gini": 0.5}})
    assert strict.digest() == Settings().digest()
