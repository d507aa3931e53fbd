"""A release of six items, the service on it as a real process, and what the system says of its processes."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from storefronts import item_entry, six_item_model

from features.encoder.encoder import load_encoder
from features.store.manifest import ReleaseDraft
from features.store.release import SETTINGS_FILE, TEXTS_FILE
from features.store.store import Store
from recsys import config
from recsys.config import Settings
from recsys.cooccurrence import CoPurchases
from recsys.review_quotes import Evidence
from recsys.users import HISTORY
from recsys.workspace import Workspace

TITLES = {
    "boot": "leather hiking boots",
    "coat": "waterproof winter coat",
    "lamp": "reading lamp for the desk",
    "rug": "wool rug for the living room",
    "sock": "merino socks for hiking boots",
    "vase": "glass vase for flowers",
}
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)


def publish(root: Path, release_id: str) -> None:
    """A release of six items in which boots go with socks and lamps with vases; `ann` bought the boot."""
    encoder = load_encoder(config.EncoderSettings())
    text = encoder.encode(list(TITLES.values()))
    popularity = np.array([2, 1, 9, 3, 4, 5], dtype=np.float32)
    model = six_item_model(list(TITLES), text, popularity)
    folder = root / "draft" / release_id
    model.save(folder)
    CoPurchases.none(6).save(folder)
    Evidence.none(6).save(folder)
    np.save(folder / TEXTS_FILE, np.zeros((0, encoder.dim), dtype=np.float32))
    (folder / SETTINGS_FILE).write_text(Settings().model_dump_json())
    bought = [item_entry("boot", at=AS_OF)]
    vectors = {"text_vector": pl.Array(pl.Float32, encoder.dim)}
    tables = {
        "items": pl.DataFrame(
            {"item_id": list(TITLES), "title": list(TITLES.values()), "available": [True] * 6, "text_vector": text},
            schema_overrides=vectors,
        ),
        "users": pl.DataFrame(
            {"user_id": ["ann"], "history": [bought], "text_vector": np.zeros((1, encoder.dim), np.float32)},
            schema_overrides=vectors | {"history": HISTORY},
        ),
        "reviews": pl.DataFrame(schema={"review_id": pl.String}),
    }
    draft = ReleaseDraft(
        release_id, AS_OF, tables, folder, encoder.id, encoder.sha256, "", {"all": {"ndcg_at_10": 0.5}}
    )
    Store(Workspace(root)).publish(draft, AS_OF)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "serving", *map(str, arguments)]


def environment(**extra: str) -> dict[str, str]:
    """This process's, without what would point the service elsewhere."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RECSYS_", "RAY_"))}
    return inherited | {"PYTHONPATH": os.pathsep.join(sys.path)} | extra


def started(workspace: Path, port: int, **extra: str) -> subprocess.Popen[str]:
    """The service, ready; the caller ends it. Its standard error is a file beside the workspace."""
    with workspace.with_name(f"{workspace.name}-{port}.err").open("w") as errors:
        process = subprocess.Popen(
            command("--workspace", workspace, "--port", port),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(**extra),
        )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("serving release")
    return process


def kill(process: subprocess.Popen[str], others: Collection[int]) -> None:
    """Kill it as the kernel does when memory runs out, and wait until the others have ended."""
    descriptors = [os.pidfd_open(pid) for pid in others]
    process.kill()
    process.communicate()
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], 60)[0]
        os.close(descriptor)


def descendants(pid: int) -> set[int]:
    """Processes below `pid`, by /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {pid}


def is_alive(place: Path) -> bool:
    """Whether the process of this folder of /proc has not ended; one that nobody has waited for yet has."""
    try:
        return "\nState:\tZ" not in (place / "status").read_text()
    except OSError:
        return False


def listening_addresses(port: int) -> set[str]:
    """Local addresses, hexadecimal as in /proc/net/tcp, on which anything listens on `port`."""
    rows = [line.split() for path in ("tcp", "tcp6") for line in Path("/proc/net", path).read_text().splitlines()]
    return {row[1].split(":")[0] for row in rows[1:] if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
