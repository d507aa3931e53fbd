"""Time from `PUT` of a new product with only a text until a replica lists it, without the poll interval.

python tests/benchmarks/new_item.py --workspace out/demo [--items 10]
"""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from features.encoder.query_encoder import load_query_encoder
from features.live.database import open_live_database
from features.live.item_changes import ItemChange, ItemChanges
from features.store.release import load_release
from recsys.query import Query
from recsys.workspace import Workspace
from serving.live.catalogue import LiveCatalogue
from serving.releases.active import ActiveRelease
from serving.releases.text_vectors import TextVectors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--items", type=int, default=10)
    options = parser.parse_args()
    release = load_release(Workspace(options.workspace))
    texts = TextVectors(lambda: load_query_encoder(release.encoder), 1000)
    texts.encode_now(["ready"])
    live = ActiveRelease(release, texts)
    stored_ms, made_ms = [], []
    with tempfile.TemporaryDirectory() as folder:
        changes = ItemChanges(open_live_database(Workspace(Path(folder)), ""))
        catalogue = LiveCatalogue(lambda: live, changes, poll_s=1.0)
        changes.version()
        for number in range(options.items):
            title = f"solar garden gnome, model {number}"
            fields = {"title": title, "description": "A cheerful gnome that holds a solar lamp."}
            start = time.perf_counter()
            changes.put([ItemChange(f"gnome-{number}", fields)], datetime.now(UTC))
            stored = time.perf_counter()
            catalogue.poll()
            created_at = time.perf_counter()
            stored_ms.append(1000 * (stored - start))
            made_ms.append(1000 * (created_at - stored))
            assert catalogue.live is not None
            query = Query(text_vector=texts.encode_now([title])[0])
            (slate,) = catalogue.live.release.recommender.recommend([query])
            if f"gnome-{number}" not in [item.item_id for item in slate.items]:
                print(f"gnome-{number} is not in the list for its own title")
                return 1
        changes.database.close()
    print(
        f"{options.items} new items beside {release.recommender.n_items:,}: stored in {np.median(stored_ms):.1f} ms, "
        f"in the lists {np.median(made_ms):.1f} ms after a poll (longest {max(made_ms):.1f} ms)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
