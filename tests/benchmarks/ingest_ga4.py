"""How long a GA4 export takes to ingest, beside DuckDB reading the same file to Parquet.

    python tests/benchmarks/ingest_ga4.py --rows 1000000

The export has invented events: of ten, three are about products. Each reader runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

NAMES = (
    *("session_start", "page_view", "view_item", "scroll", "page_view", "view_item_list", "user_engagement"),
    *("page_view", "add_to_cart", "scroll"),
)


def lines(n_rows: int) -> Iterator[str]:
    """JSON lines with the nesting and the unused fields of a real export."""
    value = {"string_value": None, "int_value": None, "float_value": None, "double_value": None}
    for number in range(n_rows):
        name, visitor = NAMES[number % len(NAMES)], number // 40
        page = f"https://shop.example.com/p/{number % 5_000}"
        parameters = [
            {"key": "ga_session_id", "value": value | {"int_value": str(1_700_000_000 + visitor)}},
            {"key": "ga_session_number", "value": value | {"int_value": "1"}},
            {"key": "page_location", "value": value | {"string_value": page}},
            {"key": "page_title", "value": value | {"string_value": f"Product {number % 5_000} | Shop"}},
            {"key": "engagement_time_msec", "value": value | {"int_value": "1200"}},
        ]
        is_about_items = name in ("view_item", "view_item_list", "add_to_cart")
        row = {
            "event_date": "20261128",
            "event_timestamp": str(1_764_288_000_000_000 + number * 50_000),
            "event_name": name,
            "event_params": parameters,
            "event_bundle_sequence_id": str(number),
            "user_id": f"member-{visitor}" if visitor % 10 == 0 else None,
            "user_pseudo_id": f"{1_000_000 + visitor}.1700000000",
            "device": {"category": "mobile", "operating_system": "Android", "language": "en-us"},
            "geo": {"continent": "Europe", "country": "Norway", "city": "(not set)"},
            "traffic_source": {"medium": "organic", "name": "(organic)", "source": "google"},
            "stream_id": "123",
            "platform": "WEB",
            "items": [item(number + place) for place in range(2)] if is_about_items else [],
        }
        yield json.dumps(row) + "\n"


def item(number: int) -> dict[str, str]:
    product = number % 5_000
    names = {"item_id": f"SKU-{product}", "item_name": f"Product {product}", "item_brand": "Norvik"}
    return names | {"item_category": f"Shelf {product % 40}", "price": "12.5", "quantity": "1", "item_list_index": "1"}


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds, and the peak of memory in MiB, of a command; its process is the only child of its own parent."""
    script = (
        "import resource, subprocess, sys, time; t = time.perf_counter();"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
        "print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
    seconds, peak_mib = map(float, done.stdout.split())
    return seconds, peak_mib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    n_rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        text, parquet = Path(folder) / "events.jsonl", Path(folder) / "events.parquet"
        with text.open("w") as file:
            file.writelines(lines(n_rows))
        write_parquet(text, parquet)
        print(f"{'form':8} {'rows':>10} {'MiB':>7} {'recsys s':>9} {'MiB':>6} {'DuckDB s':>9} {'MiB':>6} {'ratio':>6}")
        for path in (text, parquet):
            workspace = f"{folder}/{path.suffix}"
            ours = measured([sys.executable, "-m", "jobs", "ingest", "auto", str(path), "--workspace", workspace])
            query = f"COPY (SELECT * FROM '{path}') TO '{folder}/copy.parquet'"
            peer = measured([sys.executable, "-c", f'import duckdb; duckdb.sql("{query}")'])
            size = path.stat().st_size / 2**20
            row = f"{path.suffix[1:]:8} {n_rows:>10,} {size:>7,.0f} {ours[0]:>9.1f} {ours[1]:>6,.0f}"
            print(f"{row} {peer[0]:>9.1f} {peer[1]:>6,.0f} {ours[0] / peer[0]:>6.2f}", flush=True)


def write_parquet(text: Path, parquet: Path) -> None:
    """The same rows as Parquet, block by block."""
    reader = pa.json.open_json(text, read_options=pa.json.ReadOptions(block_size=64 << 20))
    with pa.parquet.ParquetWriter(parquet, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


if __name__ == "__main__":
    main()
