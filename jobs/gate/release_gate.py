"""Whether the candidate of a nightly run may replace the served release.

It must not be clearly worse on the same last days (`jobs/gate/quality.py`), its arrays must be finite, its item space
must resemble the served one, and reference shoppers must get lists of available items. Items are searched exactly, so
there is no index whose recall could drop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from features.store.diff import fixed_shoppers, neighbour_churn, slate_churn
from jobs.gate.findings import Finding, Severity, stops
from jobs.gate.quality import Comparison, quality_findings
from jobs.gate.records import ChangedSlate, GateRecord
from jobs.gate.served_auc import ServedAuc
from recsys import config
from recsys.batch_scoring import source_scores
from recsys.model import Model
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.whitening import unit_rows

MOVED: Final = 0.8
"""An item has moved where at least this share of its nearest neighbours changed."""

MAX_MEAN_COSINE: Final = 0.95
"""Of two random items; above it all vectors point in nearly the same direction."""

NORMS: Final = (0.98, 1.02)

MAX_CHANGED_SLATES: Final = 5

MIN_PAIR: Final = 2
"""Products of one shopper that say something of each other."""


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict. compared_with: the served release's id, None without one; forced: published in spite of its
    findings; changed_slates: the most changed lists of reference shoppers."""

    compared_with: str | None
    findings: tuple[Finding, ...]
    comparison: Comparison | None = None
    figures: dict[str, float] = field(default_factory=dict)
    changed_slates: tuple[ChangedSlate, ...] = ()
    forced: bool = False

    @property
    def reasons(self) -> list[str]:
        """Why it is held back, one line each; empty where it is not."""
        return [finding.line() for finding in stops(self.findings)]

    @property
    def passed(self) -> bool:
        return not self.reasons

    @property
    def outcome(self) -> str:
        """published, forced or held back."""
        return "published" if self.passed else "forced" if self.forced else "held back"

    def record(self, fit: str = "", trial_auc: ServedAuc | None = None) -> GateRecord:
        """As it is stored. fit: digest of the fitted model; trial_auc: of the candidate's trial on its held-out
        days."""
        return GateRecord(
            outcome=self.outcome,
            compared_with=self.compared_with,
            reasons=tuple(self.reasons),
            findings=self.findings,
            slices=self.comparison.slices if self.comparison else (),
            figures=dict(self.figures),
            changed_slates=self.changed_slates,
            fit=fit,
            trial_served_auc=trial_auc,
        )


def judge(
    candidate: Recommender,
    served: Recommender | None,
    served_id: str | None,
    comparison: Comparison | None,
    settings: config.GateSettings,
    seed: int,
) -> Verdict:
    """candidate, served: as they are or would be served; comparison: of their trials, None where the served release has
    no readable trial."""
    vectors = [_no_pairs(candidate)] if _has_no_pairs(candidate) else _vectors(candidate, settings, seed)
    findings = [_finite(candidate.model), *vectors, *_smoke(candidate, settings)]
    figures: dict[str, float] = {}
    slates: tuple[ChangedSlate, ...] = ()
    if served is not None:
        drift, figures, slates = _drift(candidate, served, settings, seed)
        # Where one of the two leaves out texts that the encoder cannot read, the item space has to change.
        is_alike = candidate.reader.reads_texts == served.reader.reads_texts
        findings += drift if is_alike else [_as_warning(finding) for finding in drift]
    if comparison is not None:
        findings = [*quality_findings(comparison, settings), *findings]
    return Verdict(served_id, tuple(findings), comparison, figures, slates)


def _finite(model: Model) -> Finding:
    arrays = {
        "item vectors": model.sequence.item_vectors,
        "linear model": model.linear.data,
        "factors": model.factors.item_factors,
        "text vectors": model.text,
        "popularity": model.popularity,
        "trend": model.trend,
    }
    bad = {name: int((~np.isfinite(array)).sum()) for name, array in arrays.items()}
    n_bad = sum(bad.values())
    named = ", ".join(name for name, count in bad.items() if count)
    says = f"{n_bad:,} values are not finite" + (f" in {named}" if named else "")
    remedy = "lower the learning rate, or check the data for extreme values" if n_bad else ""
    return Finding("finite values", n_bad, -math.inf, 0.0, "stop" if n_bad else "ok", says, remedy)


def _has_no_pairs(candidate: Recommender) -> bool:
    """Whether nothing links one product to another: no shopper has two, and no product has a text."""
    entries = candidate.users.entries
    is_liked = (entries.weights > 0) & (entries.item_rows >= 0)
    liked = np.concatenate([[0], np.cumsum(is_liked)])
    per_user = np.diff(liked[candidate.users.indptr])
    return int(per_user.max(initial=0)) < MIN_PAIR and not candidate.model.whitened.any()


def _no_pairs(candidate: Recommender) -> Finding:
    n_users = len(candidate.users.rows)
    says = (
        f"none of {n_users:,} shoppers likes two products and no product has a text, so nothing links one product to "
        "another: lists show what is popular and trending, the same for everybody"
    )
    remedy = "ingest titles and descriptions, and views or carts; lists become personal by themselves"
    return Finding("not personal yet", 0.0, -math.inf, math.inf, "warning", says, remedy)


def _vectors(candidate: Recommender, settings: config.GateSettings, seed: int) -> list[Finding]:
    norms = np.linalg.norm(np.nan_to_num(candidate.vectors), axis=1)
    norm = float(norms[norms > 0].mean()) if norms.any() else 0.0
    low, high = NORMS
    cosine = _mean_cosine(candidate.vectors, seed)
    model = candidate.model
    placed = (model.popularity > 0) | model.whitened.any(axis=1)  # nothing is known of the others
    zero = float((norms[placed] == 0).mean()) if placed.any() else 0.0
    remedy = "check the training curve of the sequence model"
    figures: tuple[tuple[str, float, float, float, str], ...] = (
        ("vector norm", norm, low, high, f"mean norm of item vectors {norm:.3f}"),
        (
            "zero vectors",
            zero,
            -math.inf,
            settings.max_degenerate,
            f"{zero:.1%} of items with events or a description have no vector",
        ),
        ("vector spread", cosine, -math.inf, MAX_MEAN_COSINE, f"mean pairwise cosine similarity {cosine:.3f}"),
    )
    return [_within(*figure, remedy) for figure in figures]


def _mean_cosine(vectors: np.ndarray, seed: int) -> float:
    """Of random pairs of items that have a vector."""
    units = unit_rows(np.nan_to_num(vectors))
    units = units[units.any(axis=1)]
    if len(units) < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(units), 1000)
    other = (first + rng.integers(1, len(units), 1000)) % len(units)
    return float((units[first] * units[other]).sum(axis=1).mean())


def _drift(
    candidate: Recommender, served: Recommender, settings: config.GateSettings, seed: int
) -> tuple[list[Finding], dict[str, float], tuple[ChangedSlate, ...]]:
    churn = neighbour_churn(served, candidate, seed)["churn"].to_numpy()
    slates = slate_churn(served, candidate, fixed_shoppers([served, candidate], settings.smoke_users))
    figures: dict[str, float] = {}
    findings = []
    remedy = "run `recsys releases diff`, and check whether encoder, settings or ids changed"
    if len(churn):
        mean, moved = float(churn.mean()), float((churn >= MOVED).mean())
        figures |= {"neighbour_churn": mean, "moved_items": moved}
        says = f"{mean:.1%} of nearest neighbours (10 per item) changed; {moved:.1%} of items moved"
        findings.append(_within("neighbour churn", mean, -math.inf, settings.max_neighbour_churn, says, remedy))
    if len(slates):
        figures["slate_churn"] = mean = float(slates["churn"].to_numpy().mean())
        says = f"{mean:.1%} of items in {len(slates)} reference lists changed"
        findings.append(_within("slate churn", mean, -math.inf, settings.max_slate_churn, says, remedy))
    changed = slates.filter(slates["churn"] > 0).head(MAX_CHANGED_SLATES)
    slate_changes = tuple(
        ChangedSlate(row["user_id"], row["churn"], tuple(row["before"]), tuple(row["after"]))
        for row in changed.iter_rows(named=True)
    )
    return findings, figures, slate_changes


def _smoke(candidate: Recommender, settings: config.GateSettings) -> list[Finding]:
    """Lists of reference shoppers and of an unknown one: no repeated or unavailable item, and no list is empty without
    a reason."""
    user_ids: list[str | None] = [None, *fixed_shoppers([candidate], settings.smoke_users)]
    bad = []
    for user_id in user_ids:
        query = Query(user_id=user_id)
        (slate,) = candidate.recommend([query])
        fault = _fault(candidate, [item.item_id for item in slate.items], query)
        if fault:
            bad.append(f"{user_id or 'unknown shopper'}: {fault}")
    says = f"{len(bad)} of {len(user_ids)} test lists are faulty" + (f", for example {bad[0]}" if bad else "")
    remedy = "check whether the catalogue still has available items" if bad else ""
    return [Finding("smoke lists", len(bad), -math.inf, 0.0, "stop" if bad else "ok", says, remedy)]


def _fault(candidate: Recommender, item_ids: Sequence[str], query: Query) -> str:
    """What is wrong with the list, "" where it is valid."""
    if len({*item_ids}) < len(item_ids):
        return "contains an item twice"
    rows = [candidate.rows[item_id] for item_id in item_ids]
    if not candidate.properties.available[rows].all():
        return "contains an unavailable item"
    _, allowed, _ = source_scores(candidate, [query])
    return "is empty" if not item_ids and (allowed.any() or query.user_id is None) else ""


def _as_warning(finding: Finding) -> Finding:
    return replace(finding, severity="warning") if finding.severity == "stop" else finding


def _within(name: str, value: float, low: float, high: float, says: str, remedy: str) -> Finding:
    severity: Severity = "ok" if low <= value <= high else "stop"
    return Finding(name, value, low, high, severity, says, "" if severity == "ok" else remedy)
