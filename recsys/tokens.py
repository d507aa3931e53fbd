"""The words of a text, in any language: to count them, and to search for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Final

UNSPACED: Final = (
    "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han, Kana
    "\u0e01-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17d3"  # Thai, Lao, Burmese, Khmer
)
"""Scripts written without spaces between words, as a character class."""

HAN: Final = re.compile("[\u3005\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def _ranges(code_points: Iterable[int]) -> str:
    """A character class of ascending code points, with a range for each run."""
    runs: list[list[int]] = []
    for code in code_points:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)


_MARKS: Final = _ranges(code for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
r"""Signs that belong to the letter before them; Python's \w leaves them out, so vowels would end a word."""

WORD: Final = re.compile(rf"[{UNSPACED}]{{1,2}}|[^\W_{UNSPACED}](?:[^\W{UNSPACED}]|[{_MARKS}’'])*")
"""Words, and characters of scripts without spaces by twos, so that their number is about that of words."""

_TERM: Final = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}](?:[^\W{UNSPACED}]|[{_MARKS}’'])*")
_SYLLABLE: Final = re.compile(rf".[{_MARKS}]*", re.DOTALL)
"""A letter with the signs above, below and beside it."""

_SIGNS: Final = str.maketrans(dict.fromkeys("™®©℠\u00ad\u200b\u200c\u200d\u2060\ufeff", None) | {"’": "'"})
"""Left out before words are compared: trade marks, soft hyphens, characters without width."""

_TONES: Final = re.compile(
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0e47-\u0e4e\u0ec8-\u0ecd]"
)
"""Accents, tones, points of Hebrew and Arabic. Vowel signs of other scripts make other words and stay."""

_PLAIN: Final = str.maketrans(
    {"đ": "d", "ð": "d", "ø": "o", "ł": "l", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
    | {"ـ": "", "ى": "ي", "ة": "ه", "ک": "ك", "ی": "ي"}
)
"""Letters that Unicode does not take apart, and spellings of Arabic and Persian keyboards."""

_SPELLED_OUT: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


def words(text: str) -> list[str]:
    """The text's words, as they are counted: case folded, in one Unicode form, no letter twice."""
    return WORD.findall(normal(text))


def normal(text: str) -> str:
    """Case folded, in one form of Unicode (NFKC), as exact words are compared; "ß" becomes "ss"."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(_SIGNS)).casefold())


def terms(text: str) -> list[str]:
    """What a search compares: words; of scripts without spaces every two neighbouring characters, so that a word is
    found wherever it begins (a single character stays)."""
    listed: list[str] = []
    for run in _TERM.findall(normal(text)):
        if run.isascii() or not _is_unspaced(run[0]):
            listed.append(run.strip("'"))
            continue
        letters = _SYLLABLE.findall(run)
        listed += map("".join, pairwise(letters)) if len(letters) > 1 else letters
    return listed


def han_characters(text: str) -> list[str]:
    """Single Chinese characters: each is a word or a part of one, which pairs hide ("鞋" in "运动鞋")."""
    return [] if text.isascii() else HAN.findall(normal(text))


@lru_cache(maxsize=65_536)
def folded(term: str) -> tuple[str, ...]:
    """The term as people type it without accents or tones, and for umlauts also with the letter e ("kuche", "kueche").

    term: one of `terms`. The first spelling is the plain one; it equals the term where there is nothing to fold.
    """
    if term.isascii():
        return (term.replace("'", ""),)
    stripped = _TONES.sub("", unicodedata.normalize("NFKD", term.translate(_PLAIN))).replace("'", "")
    plain = unicodedata.normalize("NFC", stripped).translate(_PLAIN) or term
    spelled = term.translate(_SPELLED_OUT)
    return (plain,) if spelled == term or not spelled.isascii() else (plain, spelled)


@lru_cache(maxsize=4096)
def script(letter: str) -> str:
    """The writing system of a letter, as its Unicode name begins: LATIN, CYRILLIC, CJK; "UNNAMED" where it has none."""
    return unicodedata.name(letter, "UNNAMED").partition(" ")[0]


@lru_cache(maxsize=4096)
def _is_unspaced(letter: str) -> bool:
    return re.match(f"[{UNSPACED}]", letter) is not None
