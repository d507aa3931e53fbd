import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.bm25 import K1, B, WordIndex

TEXTS = ["red lamp", "red red lamp", "green desk lamp", ""]


def best(text: str) -> list[int]:
    scores = WordIndex.of(TEXTS).scores(text)
    return [row for row in np.argsort(-scores, kind="stable").tolist() if scores[row] > 0]


def test_items_with_the_words_are_found_the_rarer_word_counting_more() -> None:
    assert best("DESK") == [2]
    assert best("red desk")[0] == 2  # one text of four has a desk, two are red
    assert best("lamp") == [0, 1, 2]  # of equal counts the shorter text first
    assert best("red") == [1, 0]  # twice is more than once


def test_unknown_words_and_no_words_find_nothing() -> None:
    assert best("sofa") == best("") == best("...") == []


def test_a_word_asked_for_twice_counts_once() -> None:
    index = WordIndex.of(TEXTS)
    np.testing.assert_array_equal(index.scores("red red"), index.scores("red"))


def test_a_shop_without_items_or_words_is_read() -> None:
    assert WordIndex.of([]).scores("a").tolist() == []
    assert WordIndex.of(["", ""]).scores("a").tolist() == [0.0, 0.0]


@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=5), min_size=1, max_size=6), st.lists(st.sampled_from("abcde"))
)
def test_scores_are_those_of_the_formula(texts: list[list[str]], query: list[str]) -> None:
    mean = max(sum(map(len, texts)) / len(texts), 1.0)
    for row, score in enumerate(WordIndex.of([" ".join(text) for text in texts]).scores(" ".join(query))):
        total = 0.0
        for word in set(query):
            n_with = sum(word in text for text in texts)
            rarity = np.log(1 + (len(texts) - n_with + 0.5) / (n_with + 0.5))
            count = texts[row].count(word)
            total += rarity * count * (K1 + 1) / (count + K1 * (1 - B + B * len(texts[row]) / mean))
        assert score == pytest.approx(total, rel=1e-4, abs=1e-6)


SHOPS = {
    "zh": ["新蓝牙耳机 降噪版", "无线蓝牙耳机", "不锈钢保温杯 500ml", "男士运动鞋 透气", "机械键盘 青轴"],
    "ja": ["ワイヤレスイヤホン", "ステンレス水筒 500ml", "炊飯器 5.5合炊き", "折りたたみ日傘"],
    "th": ["หูฟังบลูทูธไร้สาย", "รองเท้าวิ่งผู้ชาย", "หม้อหุงข้าวไฟฟ้า 1.8 ลิตร"],
    "lo": ["ໝໍ້ຫຸງເຂົ້າ", "ຫູຟັງໄຮ້ສາຍ"],
    "km": ["កាសស្តាប់ត្រចៀក", "ឆ្នាំងដាំបាយ"],
    "ar": ["سماعة بلوتوث لاسلكية", "حذاء رياضي للرجال", "غلاية كهربائية"],
    "vi": ["Nồi cơm điện Sunhouse 1.8L", "Nội thất phòng khách", "Tai nghe không dây"],
    "de": [
        "Kaffeevollautomat schwarz",
        "Maschine für Kaffee",
        "Schreibtischlampe LED",
        "Vollautomat",
        "Weiße Lampe",
        "Tisch",
    ],
    "ko": ["블루투스이어폰", "블루투스 스피커", "유선 이어폰"],
    "mixed": ["Sony 无线耳机 WH-1000XM5", "Tai nghe Sony WH-CH520", "Bosch Küchenmaschine MUM5"],
}


@pytest.mark.parametrize(
    ("shop", "text", "expected"),
    [
        ("zh", "蓝牙耳机", {0, 1}),
        ("zh", "鞋", {3}),
        ("zh", "保温杯", {2}),
        ("ja", "イヤホン", {0}),
        ("ja", "水筒", {1}),
        ("ja", "ｲﾔﾎﾝ", {0}),
        ("th", "หูฟัง", {0}),
        ("th", "หม้อหุงข้าว", {2}),
        ("lo", "ຫູຟັງ", {1}),
        ("km", "ដាំបាយ", {1}),
        ("ar", "سماعه", {0}),
        ("ar", "سَمَّاعة", {0}),
        ("vi", "noi com dien", {0}),
        ("vi", "TAI NGHE KHONG DAY", {2}),
        ("de", "kaffee vollautomat", {0}),
        ("de", "kaffeemaschine", {1}),
        ("de", "lampe", {4}),
        ("de", "weisse lampe", {4}),
        ("de", "schreibtisch", {2}),
        ("ko", "이어폰 블루투스", {0}),
        ("mixed", "耳机 sony", {0}),
        ("mixed", "kuchenmaschine", {2}),
        ("mixed", "Kuechenmaschine", {2}),
    ],
)
def test_products_are_found_in_every_script(shop: str, text: str, expected: set[int]) -> None:
    scores = WordIndex.of(SHOPS[shop]).scores(text)
    assert set(np.argsort(-scores, kind="stable")[: len(expected)].tolist()) == expected
    assert all(scores[row] > 0 for row in expected)


def test_a_word_written_the_same_counts_more_than_with_other_tones() -> None:
    scores = WordIndex.of(["nồi", "nội", "noi"]).scores("nồi")
    assert scores[0] > scores[1] > 0
    assert scores[1] == pytest.approx(scores[2])


def test_a_part_of_a_compound_counts_less_than_the_word_alone() -> None:
    scores = WordIndex.of(["Schreibtischlampe", "Lampe", "Tisch"]).scores("lampe")
    assert scores[1] > scores[0] > scores[2] == 0.0


def test_a_word_that_the_shop_never_writes_alone_is_found_in_longer_ones() -> None:
    scores = WordIndex.of(["Duschvorhang", "Vorhangstange", "Kissen"]).scores("vorhang")
    assert scores[0] > 0 < scores[1]
    assert scores[2] == 0.0


@given(st.lists(st.text(max_size=20), max_size=8), st.text(max_size=20))
def test_any_text_can_be_indexed_and_searched(texts: list[str], text: str) -> None:
    scores = WordIndex.of(texts).scores(text)
    assert scores.shape == (len(texts),)
    assert (scores >= 0).all()
