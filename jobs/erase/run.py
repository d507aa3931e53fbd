"""Erase a shopper from every place of the workspace, search for leftovers, and write a receipt.

The shopper's texts are read first and saved in `erasures/pending-*.json` until the end, so that the next run can finish
an interrupted one, even though half of the places no longer contain the shopper.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from features.live.database import LiveDatabase, open_live_database
from features.live.erasure_queue import ErasureQueue, erase_rows
from features.live.user_merges import UserMerges
from features.store.erasure import WithoutShopper
from features.store.rewrite import rewrite_releases
from features.store.store import Store
from features.workspace.atomic_files import sha256_of, sync, write_atomically
from features.workspace.erased_users import add_erased
from features.workspace.erasure_receipt import VERSION, Place, Receipt, Searched, total, write_receipt
from features.workspace.hidden_reviews import hidden_ids, show_reviews
from features.workspace.lease import Lease, hold_lease
from features.workspace.merged_users import MergedUsers, forget_merged_user, read_merged_users
from features.workspace.user_ids import stored_ids
from jobs.embedding.embed import forget_vectors
from jobs.erase.leak_search import Needles, holds_shopper, needles_of, search
from jobs.erase.traces import Traces, traces_of
from jobs.erase.workspace_files import erase_from_lake, erase_from_quarantine, erase_from_runs, remove_half_done
from jobs.ingest.seen_files import load_seen
from jobs.lake.writer_lease import hold_lake
from recsys.config import Settings
from recsys.errors import ErasureError, RecsysError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
PENDING: Final = "pending-"


@checked_dataclass
class Plan:
    """An erasure in progress: the user, their texts, and what has been removed from which place so far."""

    user_id: str
    request_id: str
    requested_at: AwareDatetime | None
    n_rows_at_request: int
    runs: int = 0
    review_ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)

    def traces(self) -> Traces:
        return Traces(frozenset(self.review_ids), frozenset(self.texts), frozenset(self.hashes))


_PLAN: Final = TypeAdapter(Plan)


@dataclass
class _Erasure:
    """State shared by the steps."""

    workspace: Workspace
    database: LiveDatabase
    plan: Plan
    lease: Lease
    now: datetime
    subject: str = ""
    needles: Needles | None = None
    searched: Searched | None = None
    done: tuple[Receipt, Path] | None = None

    @property
    def path(self) -> Path:
        return self.workspace.erasures / f"{PENDING}{self.subject[:16]}.json"

    def save(self) -> None:
        write_atomically(self.path, _PLAN.dump_json(self.plan))

    def note(self, place: str, removed: dict[str, int], files: Iterable[Path] = ()) -> None:
        """Add to the counts of what was removed from a place, and to the files written there instead."""
        counts = self.plan.removed.setdefault(place, {})
        for name, count in removed.items():
            counts[name] = counts.get(name, 0) + count
        names = {str(path.relative_to(self.workspace.root)) for path in files}
        self.plan.files[place] = sorted(names.union(self.plan.files.get(place, ())))
        self.save()


def erase(
    workspace: Workspace, settings: Settings, user_id: str, now: datetime, progress: Progress
) -> tuple[Receipt, Path]:
    """Erase the shopper from the workspace and its live database; returns the receipt and its path.

    An e-mail address stands for its pseudonym as well, of which the receipt is. An unknown user is not an error; the
    receipt says so. Raises ErasureError for an empty id or if something is left,
    StoreError while a nightly run, an ingest or a fine-tuning run holds the workspace.
    """
    if not user_id:
        raise ErasureError("user id must not be empty")
    *others, stored = _ids_of(workspace, settings, user_id)
    for other in others:
        _erase(workspace, settings, Plan(other, "", None, 0), now, progress)
    return _erase(workspace, settings, Plan(stored, "", None, 0), now, progress)


def erase_queued(
    workspace: Workspace, settings: Settings, now: datetime, progress: Progress
) -> list[tuple[Receipt, Path]]:
    """Finish interrupted erasures, then erase every shopper queued in the live database. Raises as `erase` does."""
    plans = [plan for path in sorted(workspace.erasures.glob(f"{PENDING}*.json")) if (plan := _read_plan(path))]
    database = open_live_database(workspace, settings.serve.events_url)
    try:
        waiting = ErasureQueue(database).waiting()
    finally:
        database.close()
    known = {plan.user_id for plan in plans}
    plans += [
        Plan(request.user_id, request.request_id, request.requested_at, request.n_rows)
        for request in waiting
        if request.user_id not in known
    ]
    known = {plan.user_id for plan in plans}
    for request in waiting:  # an address that was queued before the first one was hashed, or in other letters
        others = [user_id for user_id in _ids_of(workspace, settings, request.user_id) if user_id not in known]
        plans += [Plan(user_id, request.request_id, request.requested_at, 0) for user_id in others]
        known.update(others)
    return [_erase(workspace, settings, plan, now, progress) for plan in plans]


def _ids_of(workspace: Workspace, settings: Settings, user_id: str) -> list[str]:
    """Every id under which the shopper's data is stored or may come, the one that the workspace uses last: those of
    `stored_ids`, and of each those that were joined with it."""
    database = open_live_database(workspace, settings.serve.events_url)
    try:
        into = UserMerges(database).all()
    finally:
        database.close()
    merged = MergedUsers({**read_merged_users(workspace.lake).into, **into})
    ids = [each for stored in stored_ids(workspace, user_id) for each in merged.group(stored)]
    return list(dict.fromkeys(reversed(ids)))[::-1]


def _erase(
    workspace: Workspace, settings: Settings, plan: Plan, now: datetime, progress: Progress
) -> tuple[Receipt, Path]:
    if not workspace.root.is_dir():
        raise ErasureError(f"{workspace.root}: no such folder; pass the workspace with --workspace")
    minutes = settings.releases.lease_minutes
    database = open_live_database(workspace, settings.serve.events_url)
    try:
        with (
            hold_lease(workspace.lease, now, minutes) as lease,
            hold_lease(workspace.tuning_lease, now, minutes),
            hold_lake(workspace.lake, now, minutes),
        ):
            erasure = _Erasure(workspace, database, plan, lease, now)
            for number, (name, step) in enumerate(ERASE_STEPS):
                log.info("erase step=%s", name)
                progress("erase", number, len(ERASE_STEPS))
                step(erasure)
            progress("erase", len(ERASE_STEPS), len(ERASE_STEPS))
            assert erasure.done is not None
            return erasure.done
    finally:
        database.close()


def _block_user(erasure: _Erasure) -> None:
    """First, so that neither ingest nor the service accepts data of the shopper any more."""
    erasure.subject = add_erased(erasure.workspace, erasure.plan.user_id, erasure.now)
    begun = _read_plan(erasure.path)
    if begun is not None:
        erasure.plan = begun
    if not erasure.plan.request_id and erasure.database.exists:
        for waiting in ErasureQueue(erasure.database).waiting():
            if waiting.user_id == erasure.plan.user_id:
                erasure.plan.request_id, erasure.plan.requested_at = waiting.request_id, waiting.requested_at
                erasure.plan.n_rows_at_request = waiting.n_rows
    erasure.plan.runs += 1


def _find_traces(erasure: _Erasure) -> None:
    traces = traces_of(erasure.workspace, erasure.database, erasure.plan.user_id) | erasure.plan.traces()
    erasure.plan.review_ids = sorted(traces.review_ids)
    erasure.plan.texts = sorted(traces.texts)
    erasure.plan.hashes = sorted(traces.hashes)
    erasure.save()


def _embeddings(erasure: _Erasure) -> None:
    n_vectors, written = forget_vectors(erasure.workspace, erasure.plan.hashes)
    erasure.note("embeddings", {"vectors": n_vectors}, written)


def _releases(erasure: _Erasure) -> None:
    change = WithoutShopper(erasure.plan.user_id, frozenset(erasure.plan.review_ids))
    rewritten = rewrite_releases(erasure.workspace, erasure.lease, change, lambda: datetime.now(UTC))
    for release_id, rewrite in rewritten.items():
        manifest = erasure.workspace.releases / release_id / "manifest.json"
        erasure.note(f"release {release_id}", rewrite.removed, [manifest] if any(rewrite.removed.values()) else ())


def _quarantine(erasure: _Erasure) -> None:
    n_rows, written = erase_from_quarantine(erasure.workspace, erasure.plan.user_id, erasure.plan.texts)
    erasure.note("quarantine", {"rows": n_rows}, written)


def _lake(erasure: _Erasure) -> None:
    removed, written = erase_from_lake(erasure.workspace, erasure.plan.user_id, erasure.plan.review_ids)
    n_joined = forget_merged_user(erasure.workspace.lake, erasure.plan.user_id)
    removed |= {"joined ids": n_joined} if n_joined else {}
    erasure.note("lake", removed, written)


def _live_database(erasure: _Erasure) -> None:
    removed = erase_rows(erasure.database, erasure.plan.user_id) if erasure.database.exists else {}
    if "live database" not in erasure.plan.removed:
        removed = {**removed, "rows at the request": erasure.plan.n_rows_at_request}
    erasure.note("live database", removed)
    if erasure.database.exists:
        ErasureQueue(erasure.database).done(erasure.plan.user_id)  # from here on only the plan knows the shopper


def _half_done(erasure: _Erasure) -> None:
    """Remove states of interrupted runs and cached outputs of nightly steps: all of them, because they were computed
    from the shopper's data. They are computed again when needed."""
    if any(count for counts in erasure.plan.removed.values() for count in counts.values()):
        erasure.note("half-done work", remove_half_done(erasure.workspace))


def _runs(erasure: _Erasure) -> None:
    erasure.needles = needles_of(erasure.workspace, erasure.database, erasure.plan.user_id, erasure.plan.texts)
    removed, written = erase_from_runs(erasure.workspace, erasure.needles)
    erasure.note("runs", removed, written)


def _hidden_reviews(erasure: _Erasure) -> None:
    """After the releases: until then, a running service must not quote a hidden review."""
    path = erasure.workspace.hidden_reviews
    hidden = hidden_ids(path).intersection(erasure.plan.review_ids)
    if hidden:
        show_reviews(path, hidden, erasure.now)
    erasure.note("hidden reviews", {"ids": len(hidden)}, [path] if hidden else ())


def _search(erasure: _Erasure) -> None:
    assert erasure.needles is not None
    workspace = erasure.workspace
    for draft in workspace.erasures.glob(f".{PENDING}*"):  # of a killed run
        draft.unlink()
    erasure.searched, places = search(
        workspace, erasure.database, erasure.needles, [workspace.sample, erasure.path, *_source_files(workspace)]
    )
    if places:
        raise ErasureError(
            f"{workspace.root}: data of the user is left in {len(places)} places, e.g. {places[0]}; delete it by hand "
            "or run the command again; no receipt was written"
        )


def _write_receipt(erasure: _Erasure) -> None:
    assert erasure.needles is not None and erasure.searched is not None
    workspace, plan = erasure.workspace, erasure.plan
    places = {
        name: Place(removed, {path: sha256_of(workspace.root / path) for path in _there(workspace, plan.files[name])})
        for name, removed in plan.removed.items()
    }
    receipt = Receipt(
        version=VERSION,
        subject=erasure.subject,
        known=bool(total(places)),
        requested_at=plan.requested_at,
        request_id=plan.request_id,
        erased_at=erasure.now,
        runs=plan.runs,
        places=places,
        searched=erasure.searched,
        trained_with=tuple(manifest.release_id for manifest in Store(workspace).releases()),
        encoders=tuple(sorted(path.name for path in workspace.encoders.glob("[!.]*/"))),
        first_without="",
        sources=tuple(str(path) for path in _source_files(workspace) if holds_shopper(path, erasure.needles)),
    )
    erasure.done = receipt, write_receipt(workspace, receipt)


def _forget_plan(erasure: _Erasure) -> None:
    erasure.path.unlink()
    sync(erasure.workspace.erasures)


ERASE_STEPS: tuple[tuple[str, Callable[[_Erasure], None]], ...] = (
    ("block user", _block_user),
    ("find traces", _find_traces),
    ("embeddings", _embeddings),
    ("releases", _releases),
    ("quarantine", _quarantine),
    ("lake", _lake),
    ("live database", _live_database),
    ("half-done work", _half_done),
    ("runs", _runs),
    ("hidden reviews", _hidden_reviews),
    ("search", _search),
    ("receipt", _write_receipt),
    ("forget the plan", _forget_plan),
)
"""In order. The traces, which only the lake can tell, are read before anything is removed and saved in the plan."""


def _read_plan(path: Path) -> Plan | None:
    try:
        return _PLAN.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise ErasureError(f"{path}: damaged ({message}); delete it and erase the same user again") from None


def _there(workspace: Workspace, names: Iterable[str]) -> list[str]:
    """The written files that still exist: those that no later step or run has replaced."""
    return [name for name in names if (workspace.root / name).is_file()]


def _source_files(workspace: Workspace) -> list[Path]:
    """The shop's files that were ingested and still exist."""
    taken = {file.path for entry in load_seen(workspace.lake) for file in entry.files}
    return [path for path in map(Path, sorted(taken)) if path.is_file()]


def erase_before_run(workspace: Workspace, settings: Settings, now: datetime, progress: Progress) -> int:
    """Process all pending erasure requests; returns their number.

    An error is logged, not raised, because the shop still needs a release: the requests stay pending, and these users
    are excluded from training and lists meanwhile.
    """
    try:
        return len(erase_queued(workspace, settings, now, progress))
    except RecsysError as error:
        log.error("erasure requests not processed, they stay pending error=%s", error)
        return 0
