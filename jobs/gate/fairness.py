"""Checks the candidate's lists against the limits of `[fairness]`, where any is set."""

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
    "gini": "raise the diversity rules or new_items.share, or lower the weights of `popular` and `trending`",
    "coverage": "raise the diversity rules or new_items.share, or check whether all shoppers get the same items",
    "tail_ratio": "raise new_items.share, or lower the weights of `popular` and `trending`",
    "miscalibration": "find the shoppers whose lists diverge with `ws.release().reach.calibration` of recsys.explore",
    "worst_group": "see which group has the lowest quality in notebooks/06_fairness_and_exposure.ipynb",
}


def is_bounded(limits: config.FairnessSettings) -> bool:
    """Whether any limit is set; without one nothing is computed."""
    return limits != config.FairnessSettings()


def fairness_findings(
    candidate: Recommender,
    group_quality: Mapping[str, float],
    as_of: datetime,
    limits: config.FairnessSettings,
    seed: int,
) -> tuple[list[Finding], dict[str, float]]:
    """A finding for each limit that is set, and all figures by `fairness_NAME`; empty where no limit is set or the
    release has no shoppers. group_quality: NDCG of each group of shoppers that is large enough."""
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
        is_within = least <= value <= most
        worst = min(group_quality, key=lambda group: group_quality[group], default="")
        of = f" ({worst})" if name == "worst_group" and worst else ""
        says = f"{name.replace('_', ' ')}{of} is {value:.3f}, {setting} = {most if math.isinf(least) else least:g}"
        remedy = "" if is_within else REMEDIES[name]
        findings.append(Finding(f"fairness, {name}", value, least, most, "ok" if is_within else "stop", says, remedy))
    return findings, {f"fairness_{name}": value for name, value in figures.items()}
