"""Search by title words: are products found by their titles, with and without accents and tones, and how fast?

`python tests/benchmarks/title_words.py --titles F.parquet --column title [--more F.parquet:column ...] [--json OUT]`
takes 200 titles at random as searches, as they are and without accents and tones; a product is found where its title is
among the first 3. Then five words of each title in a random order, among the first 10. The median time of a search of
three words is measured on 12,000 and 200,000 titles: those of all files, repeated with a number where there are fewer.
The peer is BM25 of scikit-learn's `CountVectorizer` and implicit's `bm25_weight`, in the same run.
"""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
from implicit.nearest_neighbours import bm25_weight
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import CountVectorizer

from recsys.bm25 import K1, B, WordIndex

N_TITLES = 200
SIZES = (12_000, 200_000)
Search = Callable[[str], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--titles", type=Path, required=True)
    parser.add_argument("--column", default="title")
    parser.add_argument("--more", action="append", default=[], metavar="FILE:COLUMN")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    titles = read_titles(options.titles, options.column)
    more = [title for each in options.more for title in read_titles(*each.rsplit(":", 1))]
    report = {"found": found_shares(titles), "median_us": {}}
    for name, texts in (("titles", titles), ("all files", titles + more)):
        for size in SIZES:
            report["median_us"][f"{name}, {size:,}"] = median_times(repeated(texts, size), texts)
    table = Table("", "product", "scikit-learn + implicit")
    for name, figures in (report["found"] | report["median_us"]).items():
        table.add_row(name, *(f"{figure:.4g}" for figure in figures))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


def read_titles(path: Path | str, column: str) -> list[str]:
    return pl.read_parquet(path)[column].drop_nulls().unique(maintain_order=True).to_list()


def without_tones(text: str) -> str:
    """As people type it on a plain keyboard."""
    letters = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def found_shares(titles: Sequence[str], n: int = N_TITLES, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Share of titles that are found, by kind of search: of the product, and of the peer."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(titles), min(n, len(titles)), replace=False)
    parts = {row: " ".join(rng.permutation(titles[row].split())[:5]) for row in rows}
    searches = (WordIndex.of(titles).scores, peer(titles))

    def shares(text_of: Callable[[int], str], first: int) -> tuple[float, float]:
        product, other = (np.mean([is_found(search, text_of(row), row, first) for row in rows]) for search in searches)
        return float(product), float(other)

    return {
        "whole title": shares(lambda row: titles[row], 3),
        "whole title without tones": shares(lambda row: without_tones(titles[row]), 3),
        "five words": shares(lambda row: parts[row], 10),
        "five words without tones": shares(lambda row: without_tones(parts[row]), 10),
    }


def is_found(search: Search, text: str, row: int, first: int) -> bool:
    return row in np.argsort(-search(text), kind="stable")[:first]


def peer(titles: Sequence[str]) -> Search:
    """BM25 of words as scikit-learn cuts them."""
    vectorizer = CountVectorizer(dtype=np.float32)
    weights = bm25_weight(vectorizer.fit_transform(titles), K1=K1, B=B).tocsr()
    return lambda text: np.asarray((vectorizer.transform([text]) @ weights.T).todense()).ravel()


def repeated(titles: Sequence[str], size: int) -> list[str]:
    return [titles[row % len(titles)] + (f" {row // len(titles)}" if row >= len(titles) else "") for row in range(size)]


def median_times(texts: Sequence[str], titles: Sequence[str], n: int = 500) -> tuple[float, float]:
    """Microseconds of a search of three words: of the product, and of the peer."""
    rng = np.random.default_rng(0)
    queries = [" ".join(rng.permutation(titles[row].split())[:3]) for row in rng.choice(len(titles), n)]
    medians = []
    for search in (WordIndex.of(texts).scores, peer(texts)):
        seconds = []
        for query in [*queries[:20], *queries]:
            start = perf_counter()
            search(query)
            seconds.append(perf_counter() - start)
        medians.append(float(np.median(seconds[20:])) * 1e6)
    return medians[0], medians[1]


if __name__ == "__main__":
    main()
