import polars as pl
import pytest

from recsys.values.availability import is_negated, parse_flags

AVAILABLE = (
    *(
        "in stock",
        "in_stock",
        "instock",
        "InStock",
        "https://schema.org/InStock",
        "http://schema.org/LimitedAvailability",
    ),
    *(
        "preorder",
        "PreOrder",
        "pre-order",
        "backorder",
        "onbackorder",
        "OnlineOnly",
        "InStoreOnly",
        "active",
        "available",
    ),
    *(
        "published",
        "publish",
        "visible",
        "TRUE",
        "1",
        "1.0",
        "7",
        "yes",
        "Y",
        "on",
        "Only 3 left",
        "5 in stock",
        "wahr",
    ),
)
UNAVAILABLE = (
    *(
        "out of stock",
        "out_of_stock",
        "Out-of-Stock",
        "outofstock",
        "https://schema.org/OutOfStock",
        "SoldOut",
        "sold out",
    ),
    *(
        "Discontinued",
        "draft",
        "archived",
        "disabled",
        "hidden",
        "unavailable",
        "false",
        "0",
        "0.0",
        "no",
        "N",
        "off",
        "-1",
    ),
)


@pytest.mark.parametrize(
    ("words", "flag"), [(AVAILABLE, True), (UNAVAILABLE, False), (("perhaps", "", None, " "), None)]
)
def test_words_of_shops(words: tuple[str | None, ...], flag: bool | None) -> None:
    parsed = parse_flags(pl.Series(words, dtype=pl.String)).to_list()
    assert dict(zip(words, parsed, strict=True)) == dict.fromkeys(words, flag)


def test_numbers_are_stock() -> None:
    assert parse_flags(pl.Series([3, 0, -1, None])).to_list() == [True, False, False, None]


def test_a_negated_column_turns_flags_but_not_words_that_name_a_state() -> None:
    values = pl.Series(["true", "0", "no", "archived", "active", "", None])
    assert parse_flags(values, negated=True).to_list() == [False, True, True, False, True, None, None]
    assert parse_flags(pl.Series([True, False, None]), negated=True).to_list() == [False, True, None]


@pytest.mark.parametrize("name", ["IsHidden", "hidden", "disabled", "is_archived", "out_of_stock", "Sold Out"])
def test_columns_that_tell_the_opposite(name: str) -> None:
    assert is_negated(name)


@pytest.mark.parametrize("name", ["available", "in_stock", "is_active", "issue", "status"])
def test_other_columns_do_not(name: str) -> None:
    assert not is_negated(name)
