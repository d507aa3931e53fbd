import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.values.ids import NO_IDS, id_faults, id_texts, parse_ids


@pytest.mark.parametrize(
    ("value", "item_id"),
    [
        ("17.0", "17"),
        ("'7350177880121", "7350177880121"),
        ("  red mug ", "red mug"),
        ("'n' roll", "'n' roll"),
        ("", None),
    ],
)
def test_spellings_of_the_same_id_become_equal(value: str, item_id: str | None) -> None:
    assert parse_ids(pl.Series([value])).to_list() == [item_id]


def test_whole_numbers_of_a_column_with_gaps_lose_their_fraction() -> None:
    assert parse_ids(pl.Series([17.0, None, 1.5, float("nan")])).to_list() == ["17", None, "1.5", None]


@pytest.mark.parametrize("word", [*NO_IDS, "(Not Set)", "NULL", "N/A"])
def test_words_for_nothing_are_no_ids(word: str) -> None:
    assert id_faults(pl.Series([word])).to_list() == ["not_an_id"]
    assert parse_ids(pl.Series([word])).to_list() == [None]


@pytest.mark.parametrize("value", ["[]", '[{"id": 1}]', '{"sku": "A"}'])
def test_json_is_no_id(value: str) -> None:
    assert id_faults(pl.Series([value])).to_list() == ["not_an_id"]


def test_a_guid_in_braces_is_an_id() -> None:
    guid = "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"
    assert parse_ids(pl.Series([guid])).to_list() == [guid]


def test_a_number_that_a_spreadsheet_has_rounded_is_no_id_but_a_code_with_an_e_is() -> None:
    values = pl.Series(["3.65275E+11", "4e+12", "2E10", "12"])
    assert id_faults(values).to_list() == ["excel_number", "excel_number", None, None]


def test_blank_has_no_fault() -> None:
    assert id_faults(id_texts(pl.Series(["", None, "  "]))).to_list() == [None, None, None]


@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=20))
def test_an_id_stays_as_it_is_when_it_is_parsed_again(values: list[str | None]) -> None:
    ids = parse_ids(pl.Series(values, dtype=pl.String))
    if not ids.str.contains(r"^'|\.0$").any():
        assert parse_ids(ids).to_list() == ids.to_list()
