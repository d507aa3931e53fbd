"""Quality of review sentiment: the head of `recsys finetune` beside TF-IDF with logistic regression.

`python tests/benchmarks/review_sentiment.py --reviews F [--map …] [--set …] [--config F] --json OUT` splits the reviews
by user, as the sentiment stage does. Settings of both are chosen by macro-F1 on validation users: the variant of the
head; the regularization of the regression, its n-grams and class weights. Both, and the majority class as a baseline,
are then measured on the same test users, with a paired bootstrap of the difference over reviews.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from features.finetune.labelled import Labelled, labelled_reviews
from features.finetune.sentiment import fit_sentiment
from features.finetune.tuning import load_trainable
from jobs.cli.options import configure_logging, shown_progress
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec, assignments, constants
from jobs.lake.lake import Lake
from recsys.classification import Classification, classification
from recsys.config import Settings
from recsys.settings_file import load_settings
from recsys.workspace import Workspace

N_DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--map", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    configure_logging(verbose=False)
    settings = load_settings(options.config, {})
    paths = {"reviews": (str(options.reviews.absolute()),)}
    spec = SourceSpec("table", paths, assignments("--map", options.map), constants(options.set))
    with TemporaryDirectory() as folder, shown_progress() as progress:
        place = Workspace(Path(folder))
        ingest(place, spec, settings.ingest, datetime.now(UTC), progress)
        reviews = Lake(place.lake).scan("reviews").collect().sort("review_id")
    encoder = load_trainable(settings.encoder, settings.finetune)
    sentiment = fit_sentiment(encoder, reviews, settings.finetune, settings.seed)
    data = labelled_reviews(reviews, settings.finetune.sentiment.classes)
    texts = [data.texts[row] for row in data.rows(2)]
    head, vectors = sentiment.head, sentiment.encoder.encode(texts)
    ours, named = head.probabilities(vectors, texts), head.classes(head.logits(vectors, texts))
    words, chosen = by_words(data, settings)
    labels = data.labels[data.rows(2)]
    by_model = {
        "recsys": classification(ours, labels, named),
        "TF-IDF + logistic regression": classification(words, labels),
        "commonest class": sentiment.majority,
    }
    low, high = difference(named, words.argmax(axis=1), labels, settings.seed)
    show(by_model, sentiment.record.details, chosen, (low, high))
    rows = [{"model": name, **asdict(figures)} for name, figures in by_model.items()]
    details = {"head": sentiment.record.details, "regression": chosen, "macro_f1_difference_ci95": [low, high]}
    sizes = {name: len(data.rows(part)) for part, name in enumerate(("learned", "validation", "test"))}
    options.json.write_text(json.dumps({"n_reviews": sizes, "rows": rows, **details}, indent=1))


def by_words(data: Labelled, settings: Settings) -> tuple[np.ndarray, dict[str, object]]:
    """(n_test, n_classes) probabilities of the best regression, and its settings."""
    learned, validation, test = ([data.texts[row] for row in data.rows(part)] for part in range(3))
    best, best_f1 = None, -1.0
    chosen: dict[str, object] = {}
    for n_grams in ((1, 1), (1, 2)):
        words = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=n_grams).fit(learned)
        features, judged, tested = (words.transform(texts) for texts in (learned, validation, test))
        for strength, weighed in product((0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0), (None, "balanced")):
            regression = LogisticRegression(
                C=strength, class_weight=weighed, max_iter=2000, random_state=settings.seed
            ).fit(features, data.labels[data.rows(0)])
            reached = classification(spread(regression, judged, data.n_classes), data.labels[data.rows(1)]).macro_f1
            if reached > best_f1:
                best, best_f1 = spread(regression, tested, data.n_classes), reached
                chosen = {
                    "C": strength,
                    "class_weight": weighed,
                    "ngram_range": n_grams,
                    "validation_macro_f1": reached,
                }
    assert best is not None
    return best, chosen


def spread(regression: LogisticRegression, features: sp.csr_matrix, n_classes: int) -> np.ndarray:
    """(n, n_classes) probabilities: 0 for a class that is not in the training data."""
    probabilities = np.zeros((features.shape[0], n_classes))
    probabilities[:, regression.classes_] = regression.predict_proba(features)
    return probabilities


def difference(ours: np.ndarray, others: np.ndarray, labels: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % interval of macro-F1 of these (n,) classes, `ours` minus `others`, by bootstrap over reviews."""
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(N_DRAWS)]
    one_hot = np.eye(int(labels.max()) + 1)
    gains = [
        classification(one_hot[ours[rows]], labels[rows]).macro_f1
        - classification(one_hot[others[rows]], labels[rows]).macro_f1
        for rows in drawn
    ]
    low, high = np.percentile(gains, [2.5, 97.5])
    return float(low), float(high)


def show(
    by_model: dict[str, Classification],
    head: dict[str, object],
    chosen: dict[str, object],
    interval: tuple[float, float],
) -> None:
    table = Table()
    for name in ("model", "accuracy", "macro-F1", "calibration error", "precision", "recall", "F1 by class"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for name, result in by_model.items():
        by_class = (
            " ".join(f"{value:.3f}" for value in values) for values in (result.precision, result.recall, result.f1)
        )
        figures = (f"{value:.4f}" for value in (result.accuracy, result.macro_f1, result.calibration_error))
        table.add_row(name, *figures, *by_class)
    console = Console(width=140)
    console.print(table)
    console.print(f"head: {head['variant']}, validation macro-F1 {head['validation_macro_f1']}", highlight=False)
    console.print(f"regression: {chosen}", highlight=False)
    console.print(f"macro-F1, recsys less regression, 95 %: {interval[0]:+.4f} to {interval[1]:+.4f}", highlight=False)
    console.print(f"confusion of recsys (rows: true class): {by_model['recsys'].confusion}", highlight=False)


if __name__ == "__main__":
    main()
