import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.tokens import folded, han_characters, terms, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("新蓝牙耳机 Pro", ["新蓝", "蓝牙", "牙耳", "耳机", "pro"]),
        ("ワイヤレス", ["ワイ", "イヤ", "ヤレ", "レス"]),
        ("หูฟังไร้", ["หูฟั", "ฟัง", "งไ", "ไร้"]),  # vowels and tones stay with their letter
        ("鞋", ["鞋"]),
        ("USB接口", ["usb", "接口"]),
        ("سماعة بلوتوث", ["سماعة", "بلوتوث"]),
        ("हेडफ़ोन काला", [unicodedata.normalize("NFKC", "हेडफ़ोन"), "काला"]),
        ("Weiß LEGO™ ｆｕｌｌ", ["weiss", "lego", "full"]),
        ("", []),
    ],
)
def test_terms_are_words_and_pairs_of_neighbours_in_scripts_without_spaces(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_words_have_no_letter_twice_so_that_they_can_be_counted() -> None:
    assert words("新蓝牙耳机 Pro") == ["新蓝", "牙耳", "机", "pro"]
    assert "".join(words("ຫູຟັງ")) == "ຫູຟັງ"


@pytest.mark.parametrize(
    ("term", "plain"),
    [
        ("điện", "dien"),
        ("nồi", "noi"),
        ("crème", "creme"),
        ("grösse", "grosse"),
        ("łódź", "lodz"),
        ("سماعة", "سماعه"),
        ("levi's", "levis"),
        ("ไร้", "ไร"),
        ("がき", "がき"),
        ("lamp", "lamp"),
    ],
)
def test_the_folded_form_has_no_accents_and_tones(term: str, plain: str) -> None:
    assert folded(term)[0] == plain


def test_umlauts_are_also_spelled_with_e() -> None:
    assert folded("küche") == ("kuche", "kueche")


def test_single_chinese_characters_are_listed_beside_the_pairs() -> None:
    assert han_characters("红鞋 42") == ["红", "鞋"]


@given(st.text())
def test_both_unicode_forms_of_a_text_have_the_same_terms(text: str) -> None:
    assert terms(unicodedata.normalize("NFD", text)) == terms(unicodedata.normalize("NFC", text))


@given(st.text())
def test_any_term_can_be_folded_and_folding_again_changes_nothing(text: str) -> None:
    for term in terms(text):
        assert folded(folded(term)[0])[0] == folded(term)[0]
