"""`recsys bench serve`: speed of the service, beside its no-op route and beside another service."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import numpy as np
import scipy.sparse as sp

from features.store.release import LoadedRelease, load_release
from features.store.store import Store
from jobs.bench.peers.als_server import IDS, IDS_FILE, INTERACTIONS_FILE, Ids
from jobs.bench.serve_requests import BASELINE, KNOWN_USER, Shop, requests
from jobs.services.load_generator import Address, Load, closed_loop, open_loop, send_once
from jobs.services.process import LOOPBACK, free_port, running
from recsys.errors import DataError, ServeError
from recsys.recommend import Recommender
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
Process = AbstractContextManager[subprocess.Popen[bytes]]

SEED: Final = 0
CONNECTIONS: Final = (1, 16)
WARM_UP_S: Final = 1.0
OVERLOAD: Final = 3.0
"""Request rate of the overload test, as a multiple of the rate that 16 connections reached."""

OVERLOAD_CONNECTIONS: Final = 256
REPLICA_TITLE: Final = "ray::ServeReplica"


@dataclass(frozen=True)
class Row:
    """One target at one number of connections. errors: answers other than 200, and broken connections.

    Percentiles are NaN if no request succeeded. client_share: as in `jobs.services.load_generator.Load`.
    """

    target: str
    connections: int
    qps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int
    client_share: float


@dataclass(frozen=True)
class Overload:
    """`KNOWN_USER` at a fixed rate of `OVERLOAD` x capacity. admitted: answered with 200; refused: with 429; errors:
    everything else. unloaded_p99_ms: of one connection, in the same run."""

    capacity_qps: float
    offered_qps: float
    admitted_qps: float
    admitted_p50_ms: float
    admitted_p99_ms: float
    unloaded_p99_ms: float
    refused_qps: float
    refused_p50_ms: float
    refused_p99_ms: float
    errors: int
    client_share: float


@dataclass(frozen=True)
class ServeBench:
    """replica_rss_mb: resident memory of one replica with libraries and release, MiB. bytes_per_item: size of the
    release's model files, which a replica memory-maps, by number of items."""

    rows: tuple[Row, ...]
    replica_rss_mb: float
    bytes_per_item: float
    n_items: int
    n_processors: int
    overload: Overload | None


def bench_serve(
    workspace: Workspace,
    config: Path | None,
    api_key: str | None,
    seconds: float,
    rounds: int,
    progress: Progress,
    *,
    overload: bool,
) -> ServeBench:
    """Start both services, measure every target, stop both.

    seconds: of load per row, split over `rounds` that each go through all rows, so that other activity on the machine
    affects all rows alike. A target that the service does not support (422) is skipped and logged.
    Raises StoreError without a release, ServeError if a service does not start or does not answer.
    """
    release = load_release(workspace)
    shop = shop_of(release.recommender, workspace)
    headers = {"X-API-Key": api_key} if api_key else {}
    by_target = requests(shop, SEED, headers)
    bytes_per_item = _model_bytes(workspace, release) / release.recommender.n_items
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as name:
        folder = Path(name)
        write_interactions(release.recommender, folder)
        port, other_port = free_port(), free_port()
        with _served(workspace, config, port, progress) as service, _baseline(folder, other_port, progress):
            addresses = {target: (LOOPBACK, other_port if target == BASELINE else port) for target in by_target}
            targets = _supported(by_target, addresses)
            loads = _measured(targets, by_target, addresses, seconds, rounds, progress)
            rows = tuple(_row(*key, parts) for key, parts in loads.items())
            of_overload = None
            if overload:
                of_overload = _overload(addresses[KNOWN_USER], by_target[KNOWN_USER], rows, seconds, progress)
            rss_mb = replica_rss_mb(service.pid)
    return ServeBench(rows, rss_mb, bytes_per_item, release.recommender.n_items, os.cpu_count() or 1, of_overload)


def shop_of(recommender: Recommender, workspace: Workspace) -> Shop:
    """Material for requests. Raises DataError if no shopper has a history."""
    users = [user for user in recommender.users.rows if recommender.users.history(user).weights.any()]
    if not users:
        raise DataError(f"{workspace.root}: no shopper of the release has a history; ingest more events")
    prices = Store(workspace).open().table("items", ["price"])["price"].drop_nulls()
    titles = " ".join(title for title in recommender.properties.titles if title)
    words = sorted(set(re.findall(r"\w{3,}", titles.lower()))) or ["anything"]
    median = prices.median()
    return Shop(users, list(recommender.item_ids), words, float(median) if isinstance(median, int | float) else 0.0)


def write_interactions(recommender: Recommender, folder: Path) -> None:
    """Write the shoppers' histories as the baseline service reads them."""
    users, entries = recommender.users, recommender.users.entries
    liked = (entries.weights > 0) & (entries.item_rows >= 0)
    owners = np.repeat(np.arange(len(users.rows)), np.diff(users.indptr))
    matrix = sp.csr_matrix(
        (entries.weights[liked], (owners[liked], entries.item_rows[liked])),
        shape=(len(users.rows), recommender.n_items),
    )
    sp.save_npz(folder / INTERACTIONS_FILE, matrix)
    ids = Ids(list(users.rows), list(recommender.item_ids), list(recommender.properties.titles))
    (folder / IDS_FILE).write_bytes(IDS.dump_json(ids))


def replica_rss_mb(pid: int) -> float:
    """Resident memory of the largest replica below the process, MiB; 0 if none is visible."""
    sizes_mb = [0.0]
    for replica in replicas_below(pid):
        lines = Path(f"/proc/{replica}/status").read_text().splitlines()
        sizes_mb.append(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024)
    return round(max(sizes_mb), 1)


def replicas_below(pid: int) -> set[int]:
    """Process ids of the service's replicas, found in /proc by the process title that Ray sets."""
    replicas = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_replica = path.read_text().startswith(REPLICA_TITLE)
        except OSError:
            continue  # the process has ended
        if is_replica and pid in _ancestors(int(path.parent.name)):
            replicas.add(int(path.parent.name))
    return replicas


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def _model_bytes(workspace: Workspace, release: LoadedRelease) -> int:
    folder = Store(workspace).open(release.release_id).model_dir
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _served(workspace: Workspace, config: Path | None, port: int, progress: Progress) -> Process:
    progress("start the service", 0, None)
    options = ["--config", str(config)] if config else []
    command = [sys.executable, "-m", "serving", "--workspace", str(workspace.root), "--port", str(port), *options]
    return running(command, port, "/readyz")


def _baseline(folder: Path, port: int, progress: Progress) -> Process:
    progress("start the baseline", 0, None)
    command = [sys.executable, "-m", "jobs.bench.peers.als_server", str(folder), str(port)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # like the replicas
    return running(command, port, "/healthz", os.environ | one_thread)


def _supported(by_target: dict[str, Iterator[bytes]], addresses: dict[str, Address]) -> list[str]:
    """The targets that answer a first request with 200."""
    supported = []
    for target, of_target in by_target.items():
        status, body = send_once(addresses[target], next(of_target))
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            log.warning("target skipped target=%r status=%d body=%r", target, status, body[:200].decode())
        elif status == HTTPStatus.UNAUTHORIZED:
            raise ServeError("the workspace has API keys; pass one with the read scope as --api-key KEY")
        elif status != HTTPStatus.OK:
            raise ServeError(f"{target}: answered {status} {body[:200].decode()}; fix the service first")
        else:
            supported.append(target)
    return supported


def _measured(
    targets: Sequence[str],
    by_target: dict[str, Iterator[bytes]],
    addresses: dict[str, Address],
    seconds: float,
    rounds: int,
    progress: Progress,
) -> dict[tuple[str, int], list[Load]]:
    """The loads of each (target, connections), one per round."""
    rows = [(target, connections) for target in targets for connections in CONNECTIONS]
    for target in targets:
        closed_loop(addresses[target], by_target[target], max(CONNECTIONS), WARM_UP_S)
    loads: dict[tuple[str, int], list[Load]] = {row: [] for row in rows}
    for done in range(rounds * len(rows)):
        target, connections = rows[done % len(rows)]
        progress("measure", done, rounds * len(rows))
        load = closed_loop(addresses[target], by_target[target], connections, seconds / rounds)
        loads[target, connections].append(load)
    return loads


def _row(target: str, connections: int, loads: Sequence[Load]) -> Row:
    latencies = np.concatenate([load.with_status(HTTPStatus.OK) for load in loads])
    wall_s = sum(load.wall_s for load in loads)
    p50, p95, p99 = percentiles(latencies)
    return Row(
        target=target,
        connections=connections,
        qps=round(len(latencies) / wall_s, 1),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        errors=sum(int((load.status != HTTPStatus.OK).sum()) for load in loads),
        client_share=round(sum(load.client_share * load.wall_s for load in loads) / wall_s, 3),
    )


def percentiles(latencies_ms: np.ndarray) -> tuple[float, float, float]:
    """The 50th, 95th and 99th percentile, ms; NaN without latencies."""
    if not len(latencies_ms):
        return float("nan"), float("nan"), float("nan")
    p50, p95, p99 = np.percentile(latencies_ms, (50, 95, 99))
    return round(float(p50), 3), round(float(p95), 3), round(float(p99), 3)


def _overload(
    address: Address, of_target: Iterator[bytes], rows: Sequence[Row], seconds: float, progress: Progress
) -> Overload:
    progress("overload", 0, None)
    by_key = {(row.target, row.connections): row for row in rows}
    capacity_qps = by_key[KNOWN_USER, max(CONNECTIONS)].qps
    offered_qps = OVERLOAD * capacity_qps
    load = open_loop(address, of_target, offered_qps, OVERLOAD_CONNECTIONS, seconds)
    admitted, refused = load.with_status(HTTPStatus.OK), load.with_status(HTTPStatus.TOO_MANY_REQUESTS)
    admitted_p50, _, admitted_p99 = percentiles(admitted)
    refused_p50, _, refused_p99 = percentiles(refused)
    return Overload(
        capacity_qps=capacity_qps,
        offered_qps=round(offered_qps, 1),
        admitted_qps=round(len(admitted) / load.wall_s, 1),
        admitted_p50_ms=admitted_p50,
        admitted_p99_ms=admitted_p99,
        unloaded_p99_ms=by_key[KNOWN_USER, 1].p99_ms,
        refused_qps=round(len(refused) / load.wall_s, 1),
        refused_p50_ms=refused_p50,
        refused_p99_ms=refused_p99,
        errors=len(load.status) - len(admitted) - len(refused),
        client_share=round(load.client_share, 3),
    )
