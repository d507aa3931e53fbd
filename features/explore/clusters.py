"""Groups of points on a map, and the words that tell each group from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from recsys.tokens import words

N_WORDS: Final = 3
MAX_CLUSTERS: Final = 30
LEAST_LETTERS: Final = 3


def cluster(places: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n,) cluster of each of (n, 2) places: k-means with about sqrt(n / 8) clusters, at most `MAX_CLUSTERS`."""
    n = len(places)
    k = int(np.clip(round((n / 8) ** 0.5), 1, min(MAX_CLUSTERS, max(n, 1))))
    if n == 0 or k == 1:
        return np.zeros(n, dtype=np.int32)
    from sklearn.cluster import MiniBatchKMeans  # a second to import, and only maps need it

    found: np.ndarray = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096).fit_predict(places)
    return found


def distinctive_words(texts: Sequence[str], clusters: np.ndarray, n_words: int = N_WORDS) -> list[str]:
    """For each cluster the words it uses most against all others, joined by commas; "" where it has no words.

    Class-based TF-IDF (Grootendorst 2022, "BERTopic", equation 1): a word's frequency in the cluster times
    log(1 + mean words a cluster / the word's frequency).
    """
    n_clusters = int(clusters.max(initial=-1)) + 1
    kept = [[word for word in words(text) if len(word) >= LEAST_LETTERS and not word.isdigit()] for text in texts]
    if not any(kept):
        return [""] * n_clusters
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=_as_is)
    counts = vectorizer.fit_transform(kept)
    names = vectorizer.get_feature_names_out()
    labels = []
    frequency = np.asarray(counts.sum(axis=0)).ravel()
    rarity = np.log1p(frequency.sum() / max(n_clusters, 1) / np.maximum(frequency, 1))
    for own in range(n_clusters):
        score = np.asarray(counts[clusters == own].sum(axis=0)).ravel() * rarity
        best = np.argsort(-score, kind="stable")[:n_words]
        labels.append(", ".join(str(names[place]) for place in best if score[place] > 0))
    return labels


def cluster_table(places: np.ndarray, texts: Sequence[str], seed: int = 0) -> tuple[np.ndarray, pl.DataFrame]:
    """(n,) clusters, and cluster, x, y, n, words of each: x, y is the median place."""
    found = cluster(places, seed)
    named = distinctive_words(texts, found)
    rows = [
        {
            "cluster": own,
            "x": float(np.median(places[found == own, 0])),
            "y": float(np.median(places[found == own, 1])),
            "n": int((found == own).sum()),
            "words": name,
        }
        for own, name in enumerate(named)
        if (found == own).any()
    ]
    schema = {"cluster": pl.Int64, "x": pl.Float64, "y": pl.Float64, "n": pl.Int64, "words": pl.String}
    return found, pl.DataFrame(rows, schema=schema)


def _as_is(tokens: list[str]) -> list[str]:
    return tokens
