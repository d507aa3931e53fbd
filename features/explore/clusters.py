"""Clusters of points on a map, and the words that distinguish each cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from recsys.tokens import words

N_WORDS: Final = 3
MAX_CLUSTERS: Final = 30
MIN_LETTERS: Final = 3


def cluster(places: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n,) cluster number of each of (n, 2) points: k-means with about sqrt(n / 8) clusters, at most `MAX_CLUSTERS`."""
    n = len(places)
    k = int(np.clip(round((n / 8) ** 0.5), 1, min(MAX_CLUSTERS, max(n, 1))))
    if n == 0 or k == 1:
        return np.zeros(n, dtype=np.int32)
    from sklearn.cluster import MiniBatchKMeans  # takes a second to import, and only maps need it

    numbers: np.ndarray = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096).fit_predict(places)
    return numbers


def distinctive_words(texts: Sequence[str], clusters: np.ndarray, n_words: int = N_WORDS) -> list[str]:
    """For each cluster its most distinctive words, joined by commas; "" if it has no words.

    Class-based TF-IDF (Grootendorst 2022, "BERTopic", equation 1): a word's frequency in the cluster times
    log(1 + mean number of words per cluster / the word's overall frequency).
    """
    n_clusters = int(clusters.max(initial=-1)) + 1
    tokens = [[word for word in words(text) if len(word) >= MIN_LETTERS and not word.isdigit()] for text in texts]
    if not any(tokens):
        return [""] * n_clusters
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=_as_is)
    counts = vectorizer.fit_transform(tokens)
    names = vectorizer.get_feature_names_out()
    labels = []
    frequency = np.asarray(counts.sum(axis=0)).ravel()
    rarity = np.log1p(frequency.sum() / max(n_clusters, 1) / np.maximum(frequency, 1))
    for number in range(n_clusters):
        score = np.asarray(counts[clusters == number].sum(axis=0)).ravel() * rarity
        best = np.argsort(-score, kind="stable")[:n_words]
        labels.append(", ".join(str(names[place]) for place in best if score[place] > 0))
    return labels


def cluster_table(places: np.ndarray, texts: Sequence[str], seed: int = 0) -> tuple[np.ndarray, pl.DataFrame]:
    """(n,) cluster numbers, and a table with cluster, x, y, n, words of each; x, y is the median of its points."""
    numbers = cluster(places, seed)
    labels = distinctive_words(texts, numbers)
    rows = [
        {
            "cluster": number,
            "x": float(np.median(places[numbers == number, 0])),
            "y": float(np.median(places[numbers == number, 1])),
            "n": int((numbers == number).sum()),
            "words": label,
        }
        for number, label in enumerate(labels)
        if (numbers == number).any()
    ]
    schema = {"cluster": pl.Int64, "x": pl.Float64, "y": pl.Float64, "n": pl.Int64, "words": pl.String}
    return numbers, pl.DataFrame(rows, schema=schema)


def _as_is(tokens: list[str]) -> list[str]:
    return tokens
