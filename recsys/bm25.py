"""Items by the words of their texts, ranked by BM25, in memory.

(Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".) Weights are computed once, so
that a search adds up a few sparse rows; no table is opened. A word counts as it is written, for less without accents
and tones, and a compound for less by its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import scipy.sparse as sp

from recsys.compounds import WordEnds, parts
from recsys.tokens import folded, han_characters, terms

K1: Final = 1.2
B: Final = 0.5
"""How soon a repeated word stops counting, and how much a long text loses; titles vary little in length."""

FOLDED: Final = 0.4
"""What a word counts that is equal only without accents and tones."""

PART: Final = 0.4
"""What a part of a compound counts, against the same word alone."""

WITHIN: Final = 0.7
"""What a longer word counts that begins or ends with a word that the shop never writes alone."""

CHARACTER: Final = 0.3
"""What a single Chinese character of a longer text counts, against a pair."""


@dataclass(frozen=True)
class WordIndex:
    """Words and their weights.

    terms: rows of `weights` by word; spellings: by word, with and without accents and tones, the row of all words that
    differ in these only; shared: (n_rows,) bool, where that are several; weights: (n_rows, n_items) float32, each
    word's BM25 weight in each item; places: `weights.indices` in numpy's type of indexes, which halves a search's time;
    ends: the vocabulary by beginnings and ends.
    """

    terms: dict[str, int]
    spellings: dict[str, int]
    shared: np.ndarray
    weights: sp.csr_matrix
    places: np.ndarray
    ends: WordEnds

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordIndex:
        """texts: one an item."""
        vocabulary, counts, lengths = _counted(texts)
        spellings, groups = _spellings(vocabulary)
        counts = _with_parts(vocabulary, counts)
        n_words = counts.shape[0]
        is_grouped = np.zeros(n_words, dtype=bool)
        if groups:
            members = np.concatenate(groups)
            is_grouped[members] = True
            numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
            ones = np.ones(len(members), dtype=np.float32)
            sums = sp.csr_matrix((ones, (numbers, members)), (len(groups), n_words))
            counts = sp.vstack([counts, sums @ counts], format="csr", dtype=np.float32)
        n_with = np.diff(counts.indptr)
        rarity = np.log(1.0 + (len(texts) - n_with + 0.5) / (n_with + 0.5))
        rarity[:n_words][is_grouped] *= 1.0 - FOLDED
        rarity[n_words:] *= FOLDED
        norm = K1 * (1.0 - B + B * lengths / max(float(lengths.mean()) if len(texts) else 0.0, 1.0))
        counts.data = (
            np.repeat(rarity, n_with) * counts.data * (K1 + 1.0) / (counts.data + norm[counts.indices])
        ).astype(np.float32)
        is_shared = np.arange(counts.shape[0]) >= n_words
        return cls(vocabulary, spellings, is_shared, counts, counts.indices.astype(np.intp), WordEnds(vocabulary))

    def scores(self, text: str) -> np.ndarray:
        """(n_items,) float32; 0 for an item that has none of the words."""
        scores = np.zeros(self.weights.shape[1], dtype=np.float32)
        indptr, data = self.weights.indptr, self.weights.data
        for row, share in self._rows(text):
            entries = slice(indptr[row], indptr[row + 1])
            added = data[entries] if share == 1.0 else data[entries] * np.float32(share)
            np.add.at(scores, self.places[entries], added)
        return scores

    def _rows(self, text: str) -> Iterator[tuple[int, float]]:
        """Rows of `weights` and what each counts, no word twice."""
        sought = dict.fromkeys(terms(text))
        for word in sought:
            rows = self._word_rows(word)
            yield from rows
            if len(word) < 4:
                continue
            if not rows:
                yield from ((self.terms[longer], WITHIN) for longer in self.ends.related(word))
            yield from ((self.terms[part], PART) for part in parts(word, self.terms) if part not in sought)
        for joined in map("".join, pairwise(sought)):  # "kaffee vollautomat" as others write it
            if joined in self.terms and joined not in sought:
                yield self.terms[joined], 1.0
        for character in dict.fromkeys(han_characters(text)):
            if character not in sought and character in self.terms:
                yield self.terms[character], CHARACTER

    def _word_rows(self, word: str) -> list[tuple[int, float]]:
        """The row of the word as it is written, and that of all its spellings where the shop has several."""
        row = self.terms.get(word, -1)
        if row >= 0:
            group = self.spellings[word]
            return [(row, 1.0)] if group == row else [(row, 1.0), (group, 1.0)]
        for form in (word, *folded(word)):
            if (group := self.spellings.get(form, -1)) >= 0:
                return [(group, 1.0 if self.shared[group] else FOLDED)]
        return []


def _counted(texts: Sequence[str]) -> tuple[dict[str, int], sp.csr_matrix, np.ndarray]:
    """The rows of words, (n_words, n_items) float32 how often each item has each, and (n_items,) lengths in words.
    Chinese characters in longer texts count `CHARACTER` and nothing in a length."""
    rows_of: dict[str, int] = {}
    rows: list[int] = []
    singles: list[tuple[int, int]] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for place, text in enumerate(texts):
        tokens = terms(text)
        rows += [rows_of.setdefault(word, len(rows_of)) for word in tokens]
        lengths[place] = len(tokens)
        singles += [(rows_of.setdefault(each, len(rows_of)), place) for each in han_characters(text)]
    columns = np.repeat(np.arange(len(texts)), lengths)
    of_singles = np.array(singles, dtype=np.int64).reshape(-1, 2)
    times = np.concatenate([np.ones(len(rows)), np.full(len(singles), CHARACTER)]).astype(np.float32)
    places = (
        np.concatenate([np.array(rows, dtype=np.int64), of_singles[:, 0]]),
        np.concatenate([columns, of_singles[:, 1]]),
    )
    counts = sp.csr_matrix((times, places), (len(rows_of), len(texts)))
    counts.sum_duplicates()
    return rows_of, counts, lengths


def _with_parts(vocabulary: dict[str, int], counts: sp.csr_matrix) -> sp.csr_matrix:
    """The counts, with `PART` of each compound's added to the words that it consists of."""
    pairs = [
        (vocabulary[part], row) for word, row in vocabulary.items() if len(word) > 3 for part in parts(word, vocabulary)
    ]
    if not pairs:
        return counts
    part_rows, word_rows = np.array(pairs, dtype=np.int64).T
    taken = sp.csr_matrix((np.full(len(pairs), PART, np.float32), (part_rows, word_rows)), (len(vocabulary),) * 2)
    return (counts + taken @ counts).tocsr().astype(np.float32)


def _spellings(vocabulary: dict[str, int]) -> tuple[dict[str, int], list[list[int]]]:
    """The row of each spelling without accents, and the rows of words that share one, a list for each further row
    behind the vocabulary's. Where a word is the only one of its spelling, that is the word's own row."""
    group_of: dict[str, int] = {}
    members: dict[int, list[int]] = {}
    for word, row in sorted(vocabulary.items(), key=lambda each: each[0].isascii()):
        # A word with signs comes first, so that "küche" holds "kuche" and "kueche" together.
        forms = (word, *folded(word))
        group = next((group_of[form] for form in forms if form in group_of), row)
        members.setdefault(group, []).append(row)
        for form in forms:
            group_of.setdefault(form, group)
    groups = {group: rows for group, rows in members.items() if len(rows) > 1}
    row_of = {group: len(vocabulary) + place for place, group in enumerate(groups)}
    return {form: row_of.get(group, group) for form, group in group_of.items()}, list(groups.values())
