"""Whether the night's candidate may be published in the place of the served release.

It must not be clearly worse on the same last days (`jobs/gate/quality.py`), its arrays must be sound, its item space
may not have lost all likeness to the served one, and fixed shoppers must get lists of items that can be bought. Items
are searched exactly, so there is no index whose recall could be lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from features.store.diff import fixed_shoppers, neighbour_churn, slate_churn
from jobs.gate.findings import Finding, Severity, stops
from jobs.gate.quality import Comparison, quality_findings
from recsys import config
from recsys.model import Model
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.whitening import unit_rows

MOVED: Final = 0.8
"""An item has moved where so much of its neighbourhood is another."""

MAX_MEAN_COSINE: Final = 0.95
"""Of two items drawn at random; above it all vectors point one way."""

NORMS: Final = (0.98, 1.02)

MAX_CHANGED_SLATES: Final = 5


@dataclass(frozen=True)
class Verdict:
    """What the gate says. compared_with: the served release's id, None on a first night; forced: published although
    `findings` say otherwise; changed_slates: the most changed lists of fixed shoppers, as `slate_churn` tells them."""

    compared_with: str | None
    findings: tuple[Finding, ...]
    comparison: Comparison | None = None
    figures: dict[str, float] = field(default_factory=dict)
    changed_slates: tuple[dict[str, Any], ...] = ()
    forced: bool = False

    @property
    def reasons(self) -> list[str]:
        """Why it is held back, a line each; empty where it is not."""
        return [finding.line() for finding in stops(self.findings)]

    @property
    def passed(self) -> bool:
        return not self.reasons

    @property
    def outcome(self) -> str:
        """published, forced or held back."""
        return "published" if self.passed else "forced" if self.forced else "held back"

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "compared_with": self.compared_with,
            "reasons": self.reasons,
            "findings": [finding.as_json() for finding in self.findings],
            "slices": [change.as_json() for change in self.comparison.slices] if self.comparison else [],
            "figures": self.figures,
            "changed_slates": list(self.changed_slates),
            "index": "none: items are searched exactly",
        }


def judge(
    candidate: Recommender,
    served: Recommender | None,
    served_id: str | None,
    comparison: Comparison | None,
    settings: config.GateSettings,
    seed: int,
) -> Verdict:
    """candidate, served: as they are or would be served; comparison: of their trials, None where the served release
    left none that can be read."""
    findings = [_finite(candidate.model), *_vectors(candidate, settings, seed), *_smoke(candidate, settings)]
    figures: dict[str, float] = {}
    slates: tuple[dict[str, Any], ...] = ()
    if served is not None:
        drift, figures, slates = _drift(candidate, served, settings, seed)
        findings += drift
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
    says = f"{n_bad:,} numbers that are not finite" + (f" in {named}" if named else "")
    remedy = "lower the learning rate, or look for extreme values in the data" if n_bad else ""
    return Finding("finite numbers", n_bad, -math.inf, 0.0, "stop" if n_bad else "ok", says, remedy)


def _vectors(candidate: Recommender, settings: config.GateSettings, seed: int) -> list[Finding]:
    norms = np.linalg.norm(np.nan_to_num(candidate.vectors), axis=1)
    norm = float(norms[norms > 0].mean()) if norms.any() else 0.0
    low, high = NORMS
    likeness = _mean_cosine(candidate.vectors, seed)
    model = candidate.model
    placed = (model.popularity > 0) | model.whitened.any(axis=1)  # of others nothing is known that could place them
    zero = float((norms[placed] == 0).mean()) if placed.any() else 0.0
    remedy = "see the training curve of the sequence model"
    told: tuple[tuple[str, float, float, float, str], ...] = (
        ("vector norm", norm, low, high, f"item vectors have a mean norm of {norm:.3f}"),
        (
            "zero vectors",
            zero,
            -math.inf,
            settings.max_degenerate,
            f"{zero:.1%} of the items that were bought or described have no vector",
        ),
        ("vector spread", likeness, -math.inf, MAX_MEAN_COSINE, f"two items are alike by {likeness:.3f} in the mean"),
    )
    return [_within(*one, remedy) for one in told]


def _mean_cosine(vectors: np.ndarray, seed: int) -> float:
    """Of random pairs of items that have a vector."""
    units = unit_rows(np.nan_to_num(vectors))
    units = units[units.any(axis=1)]
    if len(units) < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    one = rng.integers(0, len(units), 1000)
    other = (one + rng.integers(1, len(units), 1000)) % len(units)
    return float((units[one] * units[other]).sum(axis=1).mean())


def _drift(
    candidate: Recommender, served: Recommender, settings: config.GateSettings, seed: int
) -> tuple[list[Finding], dict[str, float], tuple[dict[str, Any], ...]]:
    churn = neighbour_churn(served, candidate, seed)["churn"].to_numpy()
    slates = slate_churn(served, candidate, fixed_shoppers([served, candidate], settings.smoke_users))
    figures: dict[str, float] = {}
    findings = []
    remedy = "see `recsys releases diff`, and whether encoder, settings or ids changed"
    if len(churn):
        mean, moved = float(churn.mean()), float((churn >= MOVED).mean())
        figures |= {"neighbour_churn": mean, "moved_items": moved}
        says = f"{mean:.1%} of items' 10 nearest are others than in the served release; {moved:.1%} of the items moved"
        findings.append(_within("neighbour churn", mean, -math.inf, settings.max_neighbour_churn, says, remedy))
    if len(slates):
        figures["slate_churn"] = mean = float(slates["churn"].to_numpy().mean())
        says = f"{mean:.1%} of what {len(slates)} fixed shoppers were shown is no longer"
        findings.append(_within("slate churn", mean, -math.inf, settings.max_slate_churn, says, remedy))
    changed = slates.filter(slates["churn"] > 0).head(MAX_CHANGED_SLATES)
    return findings, figures, tuple(changed.to_dicts())


def _smoke(candidate: Recommender, settings: config.GateSettings) -> list[Finding]:
    """Lists of fixed shoppers and of a stranger: no item comes twice or cannot be had, none is empty for nothing."""
    asked: list[str | None] = [None, *fixed_shoppers([candidate], settings.smoke_users)]
    bad = []
    for user_id in asked:
        query = Query(user_id=user_id)
        (slate,) = candidate.recommend([query])
        fault = _fault(candidate, [item.item_id for item in slate.items], query)
        if fault:
            bad.append(f"{user_id or 'a stranger'}: {fault}")
    says = f"{len(bad)} of {len(asked)} lists are wrong" + (f", first {bad[0]}" if bad else "")
    remedy = "see whether the catalogue still has items that can be bought" if bad else ""
    return [Finding("smoke lists", len(bad), -math.inf, 0.0, "stop" if bad else "ok", says, remedy)]


def _fault(candidate: Recommender, item_ids: Sequence[str], query: Query) -> str:
    """What is wrong with the list, "" where nothing is."""
    if len({*item_ids}) < len(item_ids):
        return "an item twice"
    rows = [candidate.rows[item_id] for item_id in item_ids]
    if not candidate.properties.available[rows].all():
        return "an item that cannot be bought"
    _, allowed, _ = candidate.score([query])
    return "empty" if not item_ids and (allowed.any() or query.user_id is None) else ""


def _within(name: str, value: float, low: float, high: float, says: str, remedy: str) -> Finding:
    severity: Severity = "ok" if low <= value <= high else "stop"
    return Finding(name, value, low, high, severity, says, "" if severity == "ok" else remedy)
