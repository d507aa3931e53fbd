"""Time, memory and disk of a first nightly run by size of the shop: `recsys ingest`, then `recsys nightly`.

python tests/benchmarks/nightly_growth.py [SHOP …] [--json OUT] [--folder F]

SHOP is PRODUCTSxSHOPPERS of the sample storefront over 60 days (about 47 acts, i.e. events without impressions, per
shopper), or completejourney. Each shop gets its own workspace, which is deleted afterwards unless --folder is given. A
shop's row replaces its earlier one in OUT as soon as it is measured, so that a long series can run in parts.

Memory is the peak of the proportional set size (PSS), summed over the command and all its child processes, sampled
twice a second. CPU time is the sum of the last sample of each process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psutil
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.lake.lake import Lake
from recsys.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
DAYS = 60
EVERY_S = 0.5
SHOPS = ("2000x210", "2000x2100", "2000x21000", "20000x2100", "100000x2100", "completejourney")


@dataclass(frozen=True)
class Cost:
    """Cost of one command: wall seconds, CPU seconds, peak memory in MiB, largest number of processes."""

    seconds: float
    cpu_s: float
    peak_mb: float
    n_processes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shops", nargs="*", metavar="SHOP", help=f"default: {' '.join(SHOPS)}")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="keep the workspaces in this folder")
    options = parser.parse_args()
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for shop in options.shops or SHOPS:
        with tempfile.TemporaryDirectory(prefix="growth-") as passing:
            rows[shop] = measured(shop, Workspace((options.folder or Path(passing)).absolute() / shop))
        if options.json:
            options.json.write_text(json.dumps(rows, indent=2) + "\n")
    print_table(rows)
    return 0


def measured(shop: str, workspace: Workspace) -> dict[str, Any]:
    """The shop's size, and the costs of its first ingest and its first nightly run."""
    place = ["--workspace", str(workspace.root)]
    ingest = run([sys.executable, "-m", "jobs", "ingest", *source(shop), *place])
    nightly = run([sys.executable, "-m", "jobs", "nightly", *place])
    return {
        **sizes(Lake(workspace.lake)),
        "ingest": asdict(ingest),
        "nightly": asdict(nightly),
        "steps": steps(workspace),
        "disk_mb": round(sum(path.stat().st_size for path in workspace.root.rglob("*") if path.is_file()) / 2**20, 1),
        "load": [round(load, 1) for load in os.getloadavg()],
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def source(shop: str) -> list[str]:
    """Arguments of `recsys ingest` for a shop."""
    if shop == "completejourney":
        return [shop]
    products, _, shoppers = shop.partition("x")
    return ["sample", "--products", products, "--shoppers", shoppers, "--days", str(DAYS)]


def sizes(lake: Lake) -> dict[str, int]:
    """Rows of the lake; `acts` are its events without impressions."""
    is_act = pl.col("event_type") != "impression"
    acts = lake.scan("events").filter(is_act).select(pl.len()).collect().item()
    return {"acts": acts} | {table: lake.n_rows(table) for table in ("events", "catalog", "reviews")}


def steps(workspace: Workspace) -> dict[str, float]:
    """Seconds by step, from the newest report."""
    reports = sorted(workspace.runs.glob("*/report.json"), key=lambda path: path.stat().st_mtime)
    by_step = json.loads(reports[-1].read_text()).get("seconds", {}) if reports else {}
    return {name: seconds for name, seconds in by_step.items() if isinstance(seconds, int | float)}


def run(command: Sequence[str]) -> Cost:
    """Run the command to its end; raises CalledProcessError if it fails."""
    started, peak, most = time.monotonic(), 0, 0
    used: dict[int, float] = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            looked = [(pid, *usage) for pid in tree(process.pid) if (usage := memory_and_time(pid)) is not None]
            used |= {pid: cpu_s for pid, _, cpu_s in looked}
            peak, most = max(peak, sum(held for _, held, _ in looked)), max(most, len(looked))
            time.sleep(EVERY_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(round(time.monotonic() - started, 1), round(sum(used.values()), 1), round(peak / 2**20, 1), most)


def tree(pid: int) -> list[int]:
    """The process and all its current child processes."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def memory_and_time(pid: int) -> tuple[int, float] | None:
    """Memory in bytes and CPU seconds of a process; None if it has just ended."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return process.memory_full_info().pss, times.user + times.system
    except psutil.NoSuchProcess:
        return None


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("shop", no_wrap=True)
    for name in ("products", "acts", "events", "ingest s", "MiB", "nightly s", "CPU s", "MiB", "disk MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for shop, row in rows.items():
        ingest, nightly = row["ingest"], row["nightly"]
        figures = (
            *(row["catalog"], row["acts"], row["events"], ingest["seconds"], ingest["peak_mb"]),
            *(nightly["seconds"], nightly["cpu_s"], nightly["peak_mb"], row["disk_mb"]),
        )
        table.add_row(shop, *(f"{figure:,.0f}" for figure in figures))
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
