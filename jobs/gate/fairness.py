"""Whether the candidate's lists keep the limits of `[fairness]`, where any is set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from jobs.gate.findings import Finding
from recsys import config
from recsys.errors import DataError
from recsys.fairness import bounds
from recsys.list_exposure import reach
from recsys.recommend import Recommender

REMEDIES: Final = {
    "gini": "raise rules of diversity or new_items.share, or lower what `popular` and `trending` weigh",
    "coverage": "raise rules of diversity or new_items.share, or see whether all shoppers are shown the same",
    "tail_ratio": "raise new_items.share, or lower what `popular` and `trending` weigh",
    "miscalibration": "see whose lists diverge with `ws.release().reach.calibration` of recsys.explore",
    "worst_group": "see who is served worst in notebooks/06_fairness_and_reach.ipynb",
}


def is_bounded(limits: config.FairnessSettings) -> bool:
    """Whether any limit is set: without, nothing is worked out."""
    return limits != config.FairnessSettings()


def fairness_findings(
    candidate: Recommender,
    group_quality: Mapping[str, float],
    as_of: datetime,
    limits: config.FairnessSettings,
    seed: int,
) -> tuple[list[Finding], dict[str, float]]:
    """A finding for each limit that is set, and all figures by `fairness_NAME`; nothing where no limit is set or the
    release knows no shopper. group_quality: of the groups of shoppers that could be measured."""
    if not is_bounded(limits):
        return [], {}
    try:
        figures = reach(candidate, as_of, seed).figures(list(group_quality.values()))
    except DataError:  # no shopper
        return [], {}
    unbounded = bounds(config.FairnessSettings())
    findings = []
    for name, (setting, least, most) in bounds(limits).items():
        value = figures[name]
        if (setting, least, most) == unbounded[name]:
            continue
        is_kept = least <= value <= most
        worst = min(group_quality, key=lambda group: group_quality[group], default="")
        of = f" ({worst})" if name == "worst_group" and worst else ""
        says = f"{name.replace('_', ' ')}{of} is {value:.3f}, {setting} = {most if math.isinf(least) else least:g}"
        remedy = "" if is_kept else REMEDIES[name]
        findings.append(Finding(f"fairness, {name}", value, least, most, "ok" if is_kept else "stop", says, remedy))
    return findings, {f"fairness_{name}": value for name, value in figures.items()}
