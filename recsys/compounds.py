"""The parts of compound words ("Kaffeevollautomat"), by the words that a shop writes alone elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Final

LINKS: Final = ("", "s", "n", "e", "es", "en", "er")
"""Letters between the parts of German, Dutch and Scandinavian compounds."""

MIN_SIZE: Final = 8
MIN_PART: Final = 3
MIN_HEAD: Final = 5
"""Letters of a word that is taken apart, of a part, and of a last part where what stands before it is no word of the
shop. A Korean syllable counts as two letters."""

MAX_PARTS: Final = 3
MIN_START: Final = 4
MAX_RELATED: Final = 40


def parts(word: str, vocabulary: Collection[str]) -> tuple[str, ...]:
    """The words of `vocabulary` that `word` consists of, as few as possible; else a known word that it ends with; ()
    where there is neither. vocabulary: a set or the keys of a dict."""
    if size(word) < MIN_SIZE or not word.isalpha():
        return ()
    for n_parts in range(2, MAX_PARTS + 1):
        if (split := _split(word, vocabulary, n_parts)) and max(map(size, split)) > MIN_PART:
            return split
    for start in range(1, len(word)):
        head = word[start:]
        if size(head) < MIN_HEAD:
            return ()
        if size(word[:start]) >= MIN_PART and head in vocabulary:
            return (head,)
    return ()


def size(word: str) -> int:
    """Letters, a Korean syllable as two."""
    return len(word) if word.isascii() else sum(2 if "가" <= letter <= "힣" else 1 for letter in word)


def _split(word: str, vocabulary: Collection[str], n_parts: int) -> tuple[str, ...]:
    """Exactly so many known words with links between them, the longest first word first; () where there are none."""
    if n_parts == 1:
        return (word,) if size(word) >= MIN_PART and word in vocabulary else ()
    for end in range(len(word) - 1, 1, -1):
        first = word[:end]
        if first not in vocabulary or size(first) < MIN_PART:
            continue
        for link in LINKS:
            if word.startswith(link, end) and (rest := _split(word[end + len(link) :], vocabulary, n_parts - 1)):
                return (first, *rest)
    return ()


class WordEnds:
    """Which words of a vocabulary begin or end with a text: for a search word that the shop never writes alone."""

    def __init__(self, vocabulary: Collection[str]) -> None:
        plain = [word for word in vocabulary if word.isalpha()]
        self._forward = sorted(plain)
        self._backward = sorted(word[::-1] for word in plain)

    def related(self, text: str) -> list[str]:
        """At most `MAX_RELATED` words that begin with the text and as many that end with it, in alphabetical order;
        none for a text of fewer than `MIN_START` letters."""
        if size(text) < MIN_START:
            return []
        ending = [word[::-1] for word in _beginning(self._backward, text[::-1])]
        return list(dict.fromkeys(_beginning(self._forward, text) + ending))


def _beginning(ordered: Sequence[str], text: str) -> list[str]:
    first = bisect_left(ordered, text)
    return [word for word in ordered[first : first + MAX_RELATED] if word.startswith(text)]
