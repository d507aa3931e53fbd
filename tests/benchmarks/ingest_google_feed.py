"""How long a Google Merchant feed takes to ingest, and how much memory.

    python tests/benchmarks/ingest_google_feed.py

The feed has invented products, a fifth of them in sale, in RSS. The ingest runs in a process of its own, so that its
peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from exported_shops import google_feed_parts, invented_shop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        feed = Path(folder) / "feed.xml"
        with feed.open("w") as file:
            file.writelines(google_feed_parts(invented_shop(arguments.products, 0).products))
        command = [sys.executable, "-m", "jobs", "ingest", "auto", str(feed), "--workspace", f"{folder}/shop"]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        figures = {
            "products": arguments.products,
            "feed_mib": round(feed.stat().st_size / 2**20, 1),
            "seconds": round(seconds, 1),
            "peak_mib": round(peak_mib),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
