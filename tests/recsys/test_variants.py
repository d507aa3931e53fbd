import numpy as np
import pytest

from recsys.variants import title_stem, variant_groups

NONE = np.zeros(2, dtype=np.int32)


@pytest.mark.parametrize(
    ("title", "attributes", "stem"),
    [
        ("Ridge shoe, blue, 43", {"colour": "Blue", "size": 43}, "ridge shoe"),
        ("Blue Ridge shoe, navy blue", {"colour": "navy blue"}, "blue ridge shoe"),
        ("Ridge shoe – red/black", {"Color": ["red", "black"]}, "ridge shoe"),
        ("Ridge shoe, wool", {"material": "wool"}, "ridge shoe wool"),  # another material is another product
        ("Redwood desk", {"colour": "red"}, "redwood desk"),  # whole words alone
        ("Desk", {"size": ""}, "desk"),
    ],
)
def test_a_stem_is_the_title_without_size_and_colour(title: str, attributes: dict[str, object], stem: str) -> None:
    assert title_stem(title, attributes) == stem


def test_sizes_and_colours_of_one_product_are_one_group() -> None:
    attributes = [{"colour": "red"}, {"colour": "blue"}]
    assert variant_groups(["Shoe, red", "Shoe, blue"], NONE, NONE, attributes).tolist() == [0, 0]


def test_of_another_brand_or_category_is_another_product() -> None:
    other = np.array([0, 1], dtype=np.int32)
    titles, attributes = ["Shoe", "Shoe"], [{}, {}]
    assert variant_groups(titles, other, NONE, attributes).tolist() == [0, 1]
    assert variant_groups(titles, NONE, other, attributes).tolist() == [0, 1]


def test_items_without_a_title_are_alone() -> None:
    assert len(set(variant_groups([None, None], NONE, NONE, [{}, {}]).tolist())) == 2


def test_a_group_that_the_shop_states_goes_before_titles() -> None:
    none = np.zeros(6, dtype=np.int32)
    titles = ["Shoe, red", "Trainer", None, "Shoe, blue", "Shoe, green", "Trainer"]
    stated = [{"group": "g1"}, {"group": " g1 "}, {"group": "g1"}, {"group": "g2"}, {"group": ["g1"]}, {}]
    colours = ["red", None, None, "blue", "green", None]
    attributes = [{**group, "colour": colour} for group, colour in zip(stated, colours, strict=True)]
    assert variant_groups(titles, none, none, attributes).tolist() == [0, 0, 0, 1, 2, 3]


def test_a_stated_group_is_no_title() -> None:
    assert variant_groups(["Shoe", "Boot"], NONE, NONE, [{"group": "boot"}, {}]).tolist() == [0, 1]
