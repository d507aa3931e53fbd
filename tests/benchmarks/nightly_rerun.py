"""Cost and quality of a second nightly run: without new data, and with 1 % new events.

python tests/benchmarks/nightly_rerun.py --workspace W [--new-share .01] [--set sequence.epochs=6] [--json OUT]

W needs a lake. A first run sees all but the newest events and embeds all texts. The second run is measured on copies:
at the same time, at the current time, and at the current time with training from scratch.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import polars as pl

from features.store.store import Store
from jobs.lake.lake import Lake
from jobs.lake.snapshot import newest_moment
from recsys.workspace import Workspace

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--until", type=datetime.fromisoformat, help="use only data before this time (with time zone)")
    parser.add_argument("--new-share", type=float, default=0.01)
    parser.add_argument("--set", action="append", default=[], help="a setting, e.g. sequence.epochs=6")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = {
        f"RECSYS_{key.replace('.', '__').upper()}": value for key, _, value in (s.partition("=") for s in options.set)
    }
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first"
        for part in ("lake", "recsys.toml"):
            source = options.workspace / part
            if source.is_dir():
                shutil.copytree(source, first / part)
            elif source.exists():
                shutil.copy(source, first / part)
        lake = Lake(Workspace(first).lake)
        now = options.until or newest_moment(lake)
        before = moment_of(lake, now, 1 - options.new_share)
        settings = {"RECSYS_NIGHTLY__FULL_RETRAIN_SHARE": "0.05"} | settings
        rows["first"] = run_nightly(first, before, settings)
        rows["nothing new"] = run_nightly(copy(first, "same"), before, settings)
        rows["new events"] = run_nightly(copy(first, "next"), now, settings)
        rows["new events, from scratch"] = run_nightly(
            copy(first, "anew"), now, settings | {"RECSYS_NIGHTLY__FULL_RETRAIN_SHARE": "0"}
        )
        print(f"{'':26} CPU              wall   of the first   of from scratch")
        for name, row in rows.items():
            shares = [row["wall_s"] / rows[of]["wall_s"] for of in ("first", "new events, from scratch")]
            print(
                f"{name:26} {row['cpu_s']:8.1f} s {row['wall_s']:8.1f} s {shares[0]:14.1%} {shares[1]:16.1%}"
                f"   ndcg {row['ndcg']:.4f} of {row['n_users']} shoppers"
            )
        if options.json:
            options.json.write_text(json.dumps(rows, indent=2))
    return 0


def moment_of(lake: Lake, now: datetime, share: float) -> datetime:
    """The time before which this share of all events up to `now` happened."""
    known = lake.scan("events").filter(pl.col("timestamp") < now)
    times = known.select("timestamp").collect()["timestamp"].sort()
    moment: datetime = times[int(share * len(times))]
    return moment


def copy(source: Path, name: str) -> Path:
    target = source.with_name(name)
    shutil.copytree(source, target)
    return target


def run_nightly(workspace: Path, as_of: datetime, settings: dict[str, str]) -> dict[str, float]:
    """Seconds of a nightly run as a separate process, and the NDCG@10 of the release that is then served."""
    command = [sys.executable, "-m", "jobs", "nightly", "--workspace", str(workspace), "--as-of", as_of.isoformat()]
    started = time.monotonic()
    log = workspace / "nightly.log"
    with log.open("ab") as file:
        pid = os.posix_spawn(
            sys.executable,
            command,
            {**os.environ, **settings, "PYTHONPATH": str(ROOT)},
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), 1), (os.POSIX_SPAWN_DUP2, file.fileno(), 2)],
        )
        _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"the nightly run failed: {log.read_text()[-2000:]}")
    release = Store(Workspace(workspace)).open()
    runs = sorted(Workspace(workspace).runs.glob("*/run.json"))
    steps = {step["name"]: (step["status"], step["seconds"]) for step in json.loads(runs[-1].read_text())["steps"]}
    fused = release.manifest.metrics["fused"]["all"]
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - started,
        "ndcg": fused["ndcg"],
        "recall": fused["recall"],
        "n_users": fused["n_users"],
        "steps": steps,
    }


if __name__ == "__main__":
    sys.exit(main())
