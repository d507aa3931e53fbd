"""A workspace opened read-only: its releases, its lake, and what changed between two releases."""

from __future__ import annotations

import difflib
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.explore.display import as_html, as_text
from features.explore.release import OpenedRelease
from features.explore.what_changed import SlateChange, slate_change
from features.finetune.record import read_record
from features.store.diff import ReleaseDiff, diff_releases, neighbour_churn
from features.store.manifest import Manifest
from features.store.store import Store
from features.workspace.lake_files import scan_table
from features.workspace.training_curves import FITS, read_epochs
from recsys import config
from recsys.errors import StoreError
from recsys.item_groups import item_groups
from recsys.settings_file import find_settings, load_settings
from recsys.workspace import Workspace

LATEST: Final = "latest"
PREVIOUS: Final = "previous"
SERVED: Final = "served"

_CURVES: Final = {"run": pl.String, "stage": pl.String, "step": pl.Int64, "loss": pl.Float64}


def open_workspace(path: str | Path) -> OpenedWorkspace:
    """The workspace in that folder. Raises StoreError if the folder does not exist."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise StoreError(f"{root}: no such folder; `recsys ingest --workspace {root}` creates a workspace")
    return OpenedWorkspace(Workspace(root))


@dataclass(frozen=True)
class OpenedWorkspace:
    """Every call reads the current state of the workspace; nothing is written into it."""

    workspace: Workspace

    def manifests(self) -> list[Manifest]:
        """The manifests of the published releases, newest last. Raises StoreError if there is no release."""
        manifests = sorted(Store(self.workspace).releases(), key=lambda manifest: (manifest.as_of, manifest.created_at))
        if not manifests:
            root = self.workspace.root
            raise StoreError(f"{root}: no release published yet; run `recsys nightly --workspace {root}`")
        return manifests

    def releases(self) -> pl.DataFrame:
        """release_id, served, as_of, created_at, items, users, reviews, encoder, recall, ndcg, oldest first.

        recall, ndcg: at 10, on the shoppers held out in the nightly run; null if the run did not measure them.
        """
        served = Store(self.workspace).current_id()
        return pl.DataFrame([_row(manifest, served) for manifest in self.manifests()])

    def release(self, which: str = LATEST) -> OpenedRelease:
        """A release by its id, or the "latest" one, the one before it ("previous"), or the one in service ("served").

        Raises StoreError if there is no release, if the id is unknown (naming the nearest ids), or if the release was
        deleted to free space.
        """
        return _opened(self.workspace, self._release_id(which))

    def _release_id(self, which: str) -> str:
        manifests = self.manifests()
        known = [manifest.release_id for manifest in manifests]
        if which == LATEST:
            return known[-1]
        if which == SERVED:
            return Store(self.workspace).current_id() or known[-1]
        if which == PREVIOUS:
            if len(known) < 2:
                raise StoreError(f"{self.workspace.root}: {known[0]} is the only release; there is no previous one")
            return known[-2]
        if which in known:
            return which
        parents = {manifest.parent for manifest in manifests}
        if which in parents or (which and (self.workspace.runs / which).is_dir()):
            raise StoreError(
                f"{self.workspace.root}: release {which} was deleted; releases.keep retains the newest {len(known)}: "
                f"{', '.join(known)}; `recsys nightly --as-of` builds a release of that day again"
            )
        nearest = difflib.get_close_matches(which, known, n=3, cutoff=0.0)
        raise StoreError(f"{self.workspace.root}: no release {which!r}; nearest: {', '.join(nearest)}")

    @property
    def events(self) -> pl.LazyFrame:
        """All events of the lake; see `recsys.tables.Events`."""
        return scan_table(self.workspace.lake, "events")

    @property
    def catalog(self) -> pl.LazyFrame:
        """The newest catalogue of the lake; see `recsys.tables.Catalog`."""
        return scan_table(self.workspace.lake, "catalog")

    @property
    def reviews(self) -> pl.LazyFrame:
        """All reviews of the lake; see `recsys.tables.Reviews`."""
        return scan_table(self.workspace.lake, "reviews")

    def what_changed(self, user_id: str, before: str = PREVIOUS, after: str = LATEST, count: int = 10) -> SlateChange:
        """How the list of a shopper changed between two releases, and what the shopper did in between."""
        return slate_change(self.release(before), self.release(after), user_id, count)

    def diff(self, before: str = PREVIOUS, after: str = LATEST, n_shoppers: int = 200) -> ReleaseDiff:
        """What differs between two releases: metrics, settings, items, neighbours, and the lists of some shoppers."""
        return diff_releases(self.release(before).loaded, self.release(after).loaded, n_shoppers)

    def drift_by(self, group: str = "category", before: str = PREVIOUS, after: str = LATEST) -> pl.DataFrame:
        """group, n_items, churn, the largest churn first; groups as in `recsys.item_groups`.

        churn: the mean share of an item's neighbours that are not among its neighbours in the release before.
        """
        newer = self.release(after).recommender
        of_items = pl.DataFrame(
            {"item_id": newer.item_ids, "group": pl.Series(item_groups(newer, group), dtype=pl.String)}
        )
        moved = neighbour_churn(self.release(before).recommender, newer).join(of_items, on="item_id")
        by_group = moved.drop_nulls("group").group_by("group").agg(n_items=pl.len(), churn=pl.col("churn").mean())
        return by_group.sort("churn", "group", descending=[True, False])

    def training_curves(self, which: str = LATEST) -> pl.DataFrame:
        """run (the release), stage (the data a fit of the sequence model learned from), step (the epoch), loss, ndcg,
        oldest fit first; empty if the nightly run reused the models of the release before.

        ndcg: at 10 on the validation days, which decide when the first fit stops; null for the other fits.
        """
        release_id = self._release_id(which)
        rows = [
            (release_id, FITS.get(fit, fit), epoch.number, epoch.loss, epoch.ndcg)
            for fit, epochs in read_epochs(self.workspace.runs / release_id).items()
            for epoch in epochs
        ]
        return pl.DataFrame(rows, schema={**_CURVES, "ndcg": pl.Float64}, orient="row")

    def tuning_curves(self) -> pl.DataFrame:
        """run, stage, step, loss of this workspace's fine-tuning runs, newest run last; empty if there are none."""
        rows = [
            (file.parent.name, stage.stage, step, loss)
            for file in sorted(self.workspace.runs.glob("*/record.json"))
            for stage in read_record(file).stages
            for step, loss in enumerate(stage.losses, start=1)
        ]
        return pl.DataFrame(rows, schema=_CURVES, orient="row")

    def quality_over_time(self) -> pl.DataFrame:
        """release_id, as_of, slice, n_users, recall, ndcg, mrr, coverage: the metrics measured by each nightly run."""
        rows = [
            {"release_id": manifest.release_id, "as_of": manifest.as_of, "slice": name, **metrics}
            for manifest in self.manifests()
            for name, metrics in manifest.metrics.get("fused", {}).items()
        ]
        return pl.DataFrame(rows)

    def fairness_over_time(self) -> pl.DataFrame:
        """release_id, as_of, slice ("all"), and the `ListExposure.figures` of every published release."""
        rows = []
        for manifest in self.manifests():
            figures = self.release(manifest.release_id).reach.figures()
            rows.append({"release_id": manifest.release_id, "as_of": manifest.as_of, "slice": "all", **figures})
        return pl.DataFrame(rows)

    @property
    def settings(self) -> config.Settings:
        """The shop's current settings; `OpenedRelease.settings` are those that a release was built with."""
        return load_settings(find_settings(None, self.workspace.settings_file), {})

    def scratch_copy(self, folder: str | Path) -> Workspace:
        """A new workspace in that folder with a copy of this one's lake, settings and embedded texts.

        Use it to try what would write into the workspace, such as fine-tuning. Raises StoreError if the folder is not
        empty.
        """
        copy = Workspace(Path(folder))
        if copy.root.exists() and any(copy.root.iterdir()):
            raise StoreError(f"{copy.root}: not empty; name an empty folder, or one that does not exist")
        for source, target in ((self.workspace.lake, copy.lake), (self.workspace.embeddings, copy.embeddings)):
            if source.is_dir():
                shutil.copytree(source, target)
        if self.workspace.settings_file.is_file():
            copy.root.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.workspace.settings_file, copy.settings_file)
        return copy

    def __repr__(self) -> str:
        return f"workspace {self.workspace.root}\n{as_text(self._shown())}"

    def _repr_html_(self) -> str:
        return as_html(self._shown(), f"Workspace {self.workspace.root}")

    def _shown(self) -> pl.DataFrame:
        try:
            return self.releases()
        except StoreError:
            return pl.DataFrame({"releases": ["none yet"]})


@lru_cache(maxsize=8)
def _opened(workspace: Workspace, release_id: str) -> OpenedRelease:
    """Cached, because releases never change and take seconds to load."""
    return OpenedRelease(workspace, release_id)


def _row(manifest: Manifest, served: str | None) -> dict[str, Any]:
    metrics = manifest.metrics.get("fused", {}).get("all", {})
    return {
        "release_id": manifest.release_id,
        "served": manifest.release_id == served,
        "as_of": manifest.as_of,
        "created_at": manifest.created_at,
        **manifest.rows,
        "encoder": manifest.encoder_id,
        "recall": metrics.get("recall"),
        "ndcg": metrics.get("ndcg"),
    }
