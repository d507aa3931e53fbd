"""Pseudonyms of user ids that are e-mail addresses."""

from pathlib import Path

import polars as pl
import pytest

from features.workspace.user_ids import UserIds, is_email, stored_ids
from recsys.workspace import Workspace


def test_an_address_has_one_pseudonym_in_any_case_and_other_ids_stay(tmp_path: Path) -> None:
    ids = UserIds.of(Workspace(tmp_path))
    first = ids.pseudonym("Ada@Example.com")
    assert first == ids.pseudonym(" ada@example.com") and first.startswith("u_") and len(first) == 34
    assert ids.pseudonym("ada@example.org") != first
    assert [ids.pseudonym(text) for text in ("17", "a@b", "@handle", "")] == ["17", "a@b", "@handle", ""]


def test_two_workspaces_give_different_pseudonyms(tmp_path: Path) -> None:
    first, second = (UserIds.of(Workspace(tmp_path / name)).pseudonym("ada@example.com") for name in "ab")
    assert first != second


def test_a_column_without_addresses_is_returned_as_it_is_and_makes_no_key(tmp_path: Path) -> None:
    column = pl.Series("user_id", ["1", None, "two"])
    assert UserIds.of(Workspace(tmp_path)).pseudonyms(column) is column
    assert UserIds.find(Workspace(tmp_path)) is None


def test_a_columns_pseudonyms_are_those_of_its_values(tmp_path: Path) -> None:
    ids = UserIds.of(Workspace(tmp_path))
    column = ids.pseudonyms(pl.Series("user_id", ["1", None, "ada@example.com"]))
    assert column.to_list() == ["1", None, ids.pseudonym("ada@example.com")]


def test_an_address_may_be_stored_in_several_forms_and_the_form_in_use_comes_last(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    before = stored_ids(workspace, "ada@example.com")
    pseudonym = UserIds.of(workspace).pseudonym("ada@example.com")
    assert before == (pseudonym, "ada@example.com")
    assert stored_ids(workspace, "Ada@Example.com") == ("ada@example.com", "Ada@Example.com", pseudonym)
    assert stored_ids(Workspace(tmp_path / "absent"), "ada@example.com") == ("ada@example.com",)
    assert stored_ids(workspace, "17") == ("17",)


@pytest.mark.parametrize(("text", "expected"), [("a@b.co", True), ("a b@c.de", True), ("x@y", False), ("17", False)])
def test_what_is_an_address(text: str, expected: bool) -> None:
    assert is_email(text) is expected


@pytest.mark.parametrize("text", ["Ada Sample <Ada@example.com>", "mailto:ada@example.com", "<ada@example.com>"])
def test_an_address_with_a_name_or_a_scheme_is_the_same_shopper(tmp_path: Path, text: str) -> None:
    ids = UserIds.of(Workspace(tmp_path))
    assert ids.pseudonym(text) == ids.pseudonym("ada@example.com")
