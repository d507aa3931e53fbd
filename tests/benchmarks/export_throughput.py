"""Lists a second of `recsys export recommendations`, and the peak memory of this process.

python tests/benchmarks/export_throughput.py --workspace out/demo [--count 20] [--workers 1]
"""

import argparse
import resource
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from jobs.export.choices import Format
from jobs.export.lists import ListsRequest
from jobs.export.recommendations import export_recommendations
from recsys.config import Settings
from recsys.workspace import Workspace


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--users", default="all")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    request = ListsRequest(options.users, options.count, datetime.now(UTC), workers=options.workers)
    with tempfile.TemporaryDirectory() as folder:
        for form in Format:
            out = Path(folder) / f"lists.{form}"
            report = export_recommendations(
                Workspace(options.workspace), Settings(), request, form, out, lambda *_: None
            )
            peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{form:8} {report.n_users:,} lists of {options.count} in {report.seconds:.1f} s, "
                f"{report.n_users / report.seconds:,.0f} a second; file {out.stat().st_size:,} bytes; "
                f"peak memory {peak_mib:,.0f} MiB"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
