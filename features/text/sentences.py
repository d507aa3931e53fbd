"""The most informative sentences of an item's reviews.

A sentence is informative if it mentions what many reviews of this item mention and reviews of other items do not. The
reviews of an item are one document. The weight of a word is the share of these reviews that use it times its inverse
document frequency over items; the score of a sentence is its cosine to the document's weights (centroid summarisation:
Radev et al., 2004). Sentences are then chosen one by one, each trading its score against its similarity to those
already chosen (maximal marginal relevance: Carbonell and Goldstein, 1998).
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final

import numpy as np
import polars as pl
from scipy import sparse

from recsys.tokens import WORD, words

MIN_WORDS: Final = 6
MAX_WORDS: Final = 30
NEAR_DUPLICATE: Final = 0.6
"""Two sentences with at least this cosine count as duplicates."""
NOVELTY: Final = 0.3
"""Weight of a sentence's similarity to those already chosen; it is subtracted from the score, which is 1 for the item's
best sentence."""

_SENTENCE_END = re.compile(
    r"(?<!\b[^\W\d]\.)(?<=[.!?…])[\"'”’)\]]*\s+"  # a full stop and a space, except after an initial ("U.S. made")
    r"|(?<=[^\W\d_][^\W\d_][.!?])(?=[A-ZÀ-ÖØ-ÞĐƠƯẠ-Ỹ][^\W\d_])"  # a missing space: "It works.The cable"
    r"|(?<=[。！？])|\n+"
)

_CLAUSE_END = re.compile(r"(?<=[,;:，；、])\s*|\s+[-–—]+\s+")


def split_sentences(text: str) -> list[str]:
    """The sentences of a plain text, in order. One of more than `MAX_WORDS` words is cut at commas, or between words.

    Works for any language. Pieces without a word (emoji, lines of dashes) are left out.
    """
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        stripped = sentence.strip()
        n_words = len(WORD.findall(stripped))
        if n_words > MAX_WORDS:
            pieces += _cut_run_on(stripped)
        elif n_words:
            pieces.append(stripped)
    return pieces


def _cut_run_on(sentence: str) -> list[str]:
    """Neighbouring clauses joined into pieces of at most `MAX_WORDS` space-separated words."""
    packed: list[list[str]] = [[]]
    for clause in _CLAUSE_END.split(sentence):
        tokens = clause.split()
        for start in range(0, len(tokens), MAX_WORDS):
            part = tokens[start : start + MAX_WORDS]
            if len(packed[-1]) + len(part) > MAX_WORDS:
                packed.append([])
            packed[-1] += part
    return [" ".join(tokens) for tokens in packed if any(WORD.search(token) for token in tokens)]


def choose_sentences(reviews: pl.DataFrame, per_item: int) -> dict[str, list[str]]:
    """At most `per_item` sentences of each item that has any, the most informative first; see `chosen_sentences`."""
    chosen: dict[str, list[str]] = {}
    for item_id, sentence in chosen_sentences(reviews, per_item).select("item_id", "sentence").iter_rows():
        chosen.setdefault(item_id, []).append(sentence)
    return chosen


def chosen_sentences(reviews: pl.DataFrame, per_item: int) -> pl.DataFrame:
    """item_id, review_row, sentence: at most `per_item` sentences per item, by item, the most informative first.

    reviews: item_id, text (plain; line ends are sentence ends), one row per review; review_row is the row in it.
    Deterministic: the same reviews in the same order give the same sentences.
    """
    sentences = _sentence_table(reviews)
    if sentences.is_empty() or not per_item:
        return sentences.select("item_id", "review_row", "sentence").clear()
    terms, scores = _salience(sentences)
    rows = np.lexsort((np.arange(len(scores)), -scores, sentences["item_row"].to_numpy()))
    chosen: list[int] = []
    for _, group in groupby(rows.tolist(), key=sentences["item_row"].to_list().__getitem__):
        best = np.array(list(group)[: 3 * per_item])
        chosen += _diverse(best, terms[best], scores[best], per_item)
    return sentences[chosen].select("item_id", "review_row", "sentence")


def _sentence_table(reviews: pl.DataFrame) -> pl.DataFrame:
    """item_id, item_row, review_row, sentence, words (list): one row per distinct sentence of an item."""
    records: list[tuple[str, int, str, list[str]]] = []
    seen: set[tuple[str, str]] = set()
    for review_row, (item_id, text) in enumerate(reviews.select("item_id", "text").iter_rows()):
        for sentence in split_sentences(text):
            tokens = words(sentence)
            key = (item_id, " ".join(tokens))
            if key not in seen:
                seen.add(key)
                records.append((item_id, review_row, sentence, tokens))
    columns = ("item_id", "review_row", "sentence", "words")
    types = (pl.String, pl.Int64, pl.String, pl.List(pl.String))
    table = pl.DataFrame(records, schema=list(zip(columns, types, strict=True)), orient="row")
    return table.with_columns(item_row=pl.col("item_id").rank("dense").cast(pl.Int64) - 1)


def _salience(sentences: pl.DataFrame) -> tuple[sparse.csr_array, np.ndarray]:
    """(n_sentences, n_terms) term vectors of norm 1, and the (n_sentences,) scores of the sentences for their items."""
    from sklearn.feature_extraction.text import CountVectorizer  # takes a second to import; not every run needs it

    counts = CountVectorizer(analyzer=_as_is, binary=True, dtype=np.float32).fit_transform(sentences["words"].to_list())
    item_rows = sentences["item_row"].to_numpy()
    review_rows = sentences["review_row"].rank("dense").to_numpy().astype(np.int64) - 1
    review_items = np.zeros(review_rows.max() + 1, dtype=np.int64)
    review_items[review_rows] = item_rows

    in_review = _member(review_rows) @ counts
    in_review.data[:] = 1.0
    support = _member(review_items) @ in_review  # (n_items, n_terms): reviews of the item that use the term
    n_items = support.shape[0]
    items_with_term = np.bincount(support.indices, minlength=support.shape[1])
    # The constant gives a word that all items' reviews use a little weight, so that a shop of one item has an order.
    rarity = np.log((1 + n_items) / (1 + items_with_term)) + 0.1
    weigh = sparse.diags_array(rarity.astype(np.float32))

    terms = _normalise_rows(sparse.csr_array(counts @ weigh))
    centroids = _normalise_rows(sparse.csr_array(support @ weigh))
    cosines = np.asarray(terms.multiply(centroids[item_rows]).sum(axis=1)).ravel()
    lengths = sentences["words"].list.len().to_numpy()
    return terms, cosines * np.minimum(1.0, np.minimum(lengths / MIN_WORDS, MAX_WORDS / lengths))


def _diverse(rows: np.ndarray, terms: sparse.csr_array, scores: np.ndarray, count: int) -> list[int]:
    """Up to `count` of `rows` (best first) by maximal marginal relevance, without near duplicates.

    terms: (n_rows, n_terms) norm 1. scores: (n_rows,).
    """
    similarity = np.asarray((terms @ terms.T).todense())
    worth = scores / max(float(scores[0]), 1e-12)
    nearest = np.zeros(len(rows))
    taken: list[int] = []
    while len(taken) < count:
        value = np.where(nearest < NEAR_DUPLICATE, worth - NOVELTY * nearest, -np.inf)
        value[taken] = -np.inf
        best = int(np.argmax(value))
        if value[best] == -np.inf:
            break
        taken.append(best)
        nearest = np.maximum(nearest, similarity[best])
    return [int(row) for row in rows[taken]]


def _as_is(tokens: list[str]) -> list[str]:
    return tokens


def _member(groups: np.ndarray) -> sparse.csr_array:
    """(n_groups, n) with a 1 where the column's element belongs to the row's group."""
    n = len(groups)
    ones = np.ones(n, dtype=np.float32)
    return sparse.csr_array((ones, (groups, np.arange(n))), shape=(int(groups.max()) + 1, n))


def _normalise_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.csr_array(sparse.diags_array(1 / np.maximum(norms, 1e-12)) @ matrix)
