"""Quality of the encoder alone: nearest neighbours of a history by text, before and after `recsys finetune`.

`python tests/benchmarks/text_neighbours.py --events F --catalog F [--map …] [--set …] --workspace W --json OUT` splits
the events leave-one-out, ingests the events before each shopper's last item into the new workspace W, fine-tunes the
encoder there (an interrupted run is resumed), and ranks all items by cosine with the recency-weighted mean of the
history's texts. The decay is tuned on the second to last items. Baselines: TF-IDF of the same texts, and the encoder
before fine-tuning.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from features.encoder.encoder import load_encoder
from features.encoder.selection import resolve_path
from features.text.documents import item_texts
from jobs.bench.data import BenchData, read_bench
from jobs.bench.scoring import Past, answer_of, read_past
from jobs.cli.finetune import print_report
from jobs.cli.options import configure_logging, shown_progress
from jobs.finetune.run import FinetuneReport, finetune
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec, assignments, constants
from jobs.lake.lake import Lake
from jobs.lake.snapshot import newest_moment, read_shop
from recsys.config import Settings
from recsys.metrics import bootstrap_difference, ndcg, recall
from recsys.settings_file import load_settings
from recsys.whitening import fit_whitening
from recsys.workspace import Workspace

DECAYS = (0.3, 0.5, 0.7, 0.8, 0.9)

Vectors: TypeAlias = np.ndarray | sp.csr_matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--map", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    configure_logging(verbose=False)
    workspace, settings = Workspace(options.workspace), load_settings(options.config, {})
    paths = {"events": (str(options.events.absolute()),), "catalog": (str(options.catalog.absolute()),)}
    spec = SourceSpec("table", paths, assignments("--map", options.map), constants(options.set))
    with shown_progress() as progress:
        data = read_bench(spec, "leave-one-out", workspace, settings, datetime.now(UTC), progress)
        if not Lake(workspace.lake).n_rows("events"):
            ingest(
                workspace, training_only(spec, data, options.workspace), settings.ingest, datetime.now(UTC), progress
            )
        started = monotonic()
        report = finetune(workspace, settings, None, datetime.now(UTC), progress)
        seconds = monotonic() - started
    print_report(report, workspace)
    rows = compare(data, texts_by_method(data, workspace, report, settings), settings)
    options.json.write_text(
        json.dumps({"n_users": len(data.test.targets), "finetune_s": seconds, "rows": rows}, indent=1)
    )


def training_only(spec: SourceSpec, data: BenchData, folder: Path) -> SourceSpec:
    """The shop's events before each shopper's last item."""
    folder.mkdir(parents=True, exist_ok=True)
    before = folder / "before.parquet"
    data.test.events.select("user_id", "item_id", "event_type", "timestamp", "value").write_parquet(before)
    columns = {key: name for key, name in spec.columns.items() if not key.startswith("events.")}
    return replace(spec, paths={**spec.paths, "events": (str(before),)}, columns=columns, constants={})


def texts_by_method(
    data: BenchData, workspace: Workspace, report: FinetuneReport, settings: Settings
) -> dict[str, Vectors]:
    """(n_items, dim) vectors of the items' texts, rows of norm 1, in the order of `data.items`."""
    named = settings.encoder.model_copy(update={"model": f"workspace:{report.name}", "sha256": ""})
    encoder = load_encoder(resolve_path(workspace, named))
    shop = read_shop(Lake(workspace.lake), newest_moment(Lake(workspace.lake)))
    items = item_texts(shop.items, shop.reviews.clear(), settings.text, encoder.count_tokens)
    texts = data.items.join(items, on="item_id", how="left", maintain_order="left")["text"].fill_null("").to_list()
    tuned = encoder.encode(texts)
    tf_idf = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 1)).fit_transform(texts)
    return {
        "TF-IDF": normalize(tf_idf).astype(np.float32).tocsr(),
        "encoder": data.text,
        "encoder, whitened": fit_whitening(data.text, settings.fusion.text_dim)(data.text),
        "tuned encoder": tuned,
        "tuned encoder, whitened": fit_whitening(tuned, settings.fusion.text_dim)(tuned),
    }


def compare(data: BenchData, by_method: dict[str, Vectors], settings: Settings) -> list[dict[str, object]]:
    """A row per method, with the interval of the difference of its NDCG to that of the whitened encoder."""
    validation, test = (
        read_past(held_out, data.items["item_id"], settings, data.repeats, None)
        for held_out in (data.validation, data.test)
    )
    ranks_by_method, chosen = {}, {}
    for name, vectors in by_method.items():
        chosen[name] = max(DECAYS, key=lambda decay, of=vectors: float(ndcg(ranks(validation, of, decay), 10).mean()))
        ranks_by_method[name] = ranks(test, vectors, chosen[name])
    table = Table()
    for column in ("text", "decay", "recall@10", "ndcg@10", "less encoder whitened, 95 %"):
        table.add_column(column, justify="left" if column == "text" else "right", no_wrap=True)
    rows: list[dict[str, object]] = []
    whitened = ndcg(ranks_by_method["encoder, whitened"], 10)
    for name, places in ranks_by_method.items():
        ndcgs = ndcg(places, 10)
        low, high = bootstrap_difference(ndcgs, whitened, settings.seed)
        figures = {"recall@10": float(recall(places, 10).mean()), "ndcg@10": float(ndcgs.mean())}
        rows.append({"text": name, "decay": chosen[name], **figures, "ci95": [low, high]})
        cells = (f"{value:.4f}" for value in figures.values())
        table.add_row(name, str(chosen[name]), *cells, f"{low:+.4f} to {high:+.4f}")
    Console(width=100).print(table)
    return rows


def ranks(past: Past, vectors: Vectors, decay: float) -> np.ndarray:
    """(n_targets,) 0-based ranks of the targets among all items."""
    history = past.history(decay)

    def scores(rows: slice) -> np.ndarray:
        products = normalize(history[rows] @ vectors) @ vectors.T
        return products.toarray() if sp.issparse(products) else np.ascontiguousarray(products)

    return answer_of(past, scores, 0.0, {}).ranks


if __name__ == "__main__":
    main()
