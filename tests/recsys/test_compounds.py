import pytest

from recsys.compounds import WordEnds, parts

WORDS = {"kaffee", "maschine", "vollautomat", "schreib", "tisch", "lampe", "küche", "블루투스", "이어폰", "car", "pet"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("kaffeemaschine", ("kaffee", "maschine")),
        ("kaffeevollautomat", ("kaffee", "vollautomat")),
        ("küchenmaschine", ("küche", "maschine")),
        ("schreibtischlampe", ("schreib", "tisch", "lampe")),
        ("gartentisch", ("tisch",)),
        ("블루투스이어폰", ("블루투스", "이어폰")),
        ("carpet", ()),
        ("maschine", ()),
        ("garderobe", ()),
        ("tisch1234", ()),
    ],
)
def test_compounds_are_taken_apart_into_known_words(word: str, expected: tuple[str, ...]) -> None:
    assert parts(word, WORDS) == expected


def test_words_are_found_by_their_beginnings_and_ends() -> None:
    ends = WordEnds(["gartenlampe", "lampenschirm", "sofa"])
    assert ends.related("lampe") == ["lampenschirm", "gartenlampe"]
    assert ends.related("sof") == []
