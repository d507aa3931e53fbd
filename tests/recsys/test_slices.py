import numpy as np

from recsys.slices import MAX_CATEGORIES, category_slices, frequency_slices, history_slices


def members(slices: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: np.flatnonzero(mask).tolist() for name, mask in slices.items()}


def test_targets_fall_into_slices_by_how_often_they_were_seen() -> None:
    slices = members(frequency_slices(np.array([0, 1, 4, 5, 19, 20])))
    assert slices == {"target_0": [0], "target_1_4": [1, 2], "target_5_19": [3, 4], "target_20_up": [5]}


def test_users_fall_into_slices_by_what_they_had() -> None:
    slices = members(history_slices(np.array([0, 1, 4, 5, 9, 10])))
    assert slices == {"cold_user": [0], "history_1_4": [1, 2], "history_5_9": [3, 4], "history_10_up": [5]}


def test_the_first_level_that_tells_categories_apart_counts() -> None:
    slices = members(category_slices(["Beauty > Nails > Red", "Beauty > Hair", None, "Beauty > Nails", "Beauty"]))
    assert slices == {
        "category_Nails": [0, 3],
        "category_Beauty": [4],
        "category_Hair": [1],
        "category_other": [2],
    }


def test_one_category_is_one_slice_and_none_is_no_slice() -> None:
    assert members(category_slices(["Toys", "Toys"])) == {"category_Toys": [0, 1], "category_other": []}
    assert category_slices([None, None]) == category_slices([]) == {}


def test_rare_categories_are_taken_together() -> None:
    slices = members(
        category_slices([*(f"c{i}" for i in range(MAX_CATEGORIES)), "z", *(f"c{i}" for i in range(MAX_CATEGORIES))])
    )
    assert len(slices) == MAX_CATEGORIES + 1
    assert slices["category_other"] == [MAX_CATEGORIES]
