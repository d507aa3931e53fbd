import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.values.categories import category_path, longest_path, parse_categories


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Home>Lamps", "Home > Lamps"),
        ("  Home  >  Desk   lamps ", "Home > Desk lamps"),
        ("Home &gt; Mugs &amp; cups", "Home > Mugs & cups"),
        ("Default Category/Men/Tops", "Men > Tops"),
        ("Default Category/Men/Tops,Default Category", "Men > Tops"),
        ("Root Catalog/Default Category/Men/Tops", "Men > Tops"),
        ("/Men/Tops", "Men > Tops"),
        ("Home/Lamps", "Lamps"),
        ("Clothing/T-Shirts;Clothing/Sale", "Clothing > T-Shirts"),
        ("Sale;Clothing > Shirts > Linen", "Clothing > Shirts > Linen"),
        ("Clothing > Shirts, Sale > Shirts", "Clothing > Shirts"),
        ("Clothing, Clothing > Hoodies", "Clothing > Hoodies"),
        ("Action|Comedy", "Action"),
        ("Bags\nSale/Bags/Summer", "Sale > Bags > Summer"),
        ("Music / AC/DC / Live", "Music > AC/DC > Live"),
    ],
)
def test_of_several_paths_the_longest_and_of_equal_ones_the_first(text: str, path: str) -> None:
    assert category_path(text) == path


@pytest.mark.parametrize(
    "name",
    [
        *("Kitchen, Dining", "AC/DC", "Coats / Jackets", "Mugs & Lids", "Default Category", "Home", "[sic"),
        *("https://shop.example.com/c/mugs", "Food, Drinks > Tea", "Home > Lamps"),
    ],
)
def test_a_name_with_a_separator_in_it_stays_whole(name: str) -> None:
    assert category_path(name) == name


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('["Home", "Lamps"]', "Home > Lamps"),
        ("['Home', 'Lamps']", "Home > Lamps"),
        ('[["Sale"], ["Home", "Lamps"], ["Art", "Light"]]', "Home > Lamps"),
        ('["Sale > Lamps", "Home > Light > Lamps"]', "Home > Light > Lamps"),
        ('["Mugs &amp; cups", null, "24&quot;"]', 'Mugs & cups > 24"'),
        ("[]", None),
        ("", None),
        (" > ", None),
    ],
)
def test_lists_are_paths(text: str, path: str | None) -> None:
    assert category_path(text) == path


def test_a_connector_says_what_separates() -> None:
    assert longest_path("A/B;C", between=";", steps="/") == "A > B"
    assert longest_path("Sale, Clothing > Tops", between=",") == "Clothing > Tops"
    assert longest_path(r"Shoes\, Boots > Hiking, Sale", between=",") == "Shoes, Boots > Hiking"
    assert longest_path("Default Category/Men/Tops", between=",", steps="/") == "Men > Tops"
    assert longest_path("", between=",") is None


def test_a_column_is_parsed_with_its_blanks() -> None:
    column = pl.Series("category", ["A>B", None, "A>B", "C"])
    assert parse_categories(column).to_list() == ["A > B", None, "A > B", "C"]
    assert parse_categories(pl.Series([None], dtype=pl.String)).to_list() == [None]


NAMES = st.text("abcÄß &-", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_path_is_a_path_again(paths: list[list[str]]) -> None:
    path = category_path(" | ".join(" > ".join(names) for names in paths))
    assert path is not None
    assert category_path(path) == path
    assert len(path.split(" > ")) == max(len(names) for names in paths)
