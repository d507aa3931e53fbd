"""Experiments on lists: who is in which arm, and what came of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtrc

from recsys import config

Z_95: Final = 1.959964
"""Half the width of a normal's central 95 %, in standard deviations."""

UNTRUSTED_BELOW: Final = 0.001
"""A split of shoppers that is less likely than this by chance says that the experiment is broken."""

_2_64: Final = 2**64


@dataclass(frozen=True)
class Assignment:
    """A shopper's part in an experiment."""

    experiment: str
    arm: str
    settings: config.ArmSettings


def assigned(experiments: Mapping[str, config.ExperimentSettings], user_id: str | None) -> Assignment | None:
    """The shopper's part in the first experiment whose share holds them; None for a guest without an id."""
    if user_id is None:
        return None
    for name, experiment in experiments.items():
        weights = {arm: settings.weight for arm, settings in experiment.arms.items()}
        arm = arm_of(name, experiment.share, weights, user_id)
        if arm is not None:
            return Assignment(name, arm, experiment.arms[arm])
    return None


def arm_of(name: str, share: float, weights: Mapping[str, float], user_id: str) -> str | None:
    """The arm of a shopper, None outside the share: the same on every machine and every day.

    Two numbers in [0, 1) from the SHA-256 of name and id: whether the shopper takes part, and in which arm. As they
    are independent, another share only adds or takes shoppers, and another experiment splits them independently.
    """
    digest = hashlib.sha256(f"{name}\0{user_id}".encode()).digest()
    takes_part, place = (int.from_bytes(digest[at : at + 8], "big") / _2_64 for at in (0, 8))
    if takes_part >= share:
        return None
    left = place * sum(weights.values())
    for arm, weight in weights.items():
        left -= weight
        if left < 0:
            return arm
    return list(weights)[-1]  # rounding alone leads here


@dataclass(frozen=True)
class Lift:
    """How much more a mean is than the control's, as a share of it, with the ends of its 95 % interval."""

    lift: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether 0 lies outside the interval."""
        return not self.low <= 0.0 <= self.high


def lift(control: np.ndarray, treated: np.ndarray) -> Lift | None:
    """Of the means of two independent groups of users; None where either is 0 or has fewer than two users.

    control, treated: (n_users,) a value a user, 0 or more; 0 and 1 for a rate. The interval is the delta method's, on
    the logarithm of the ratio of means, whose variance is the sum of s² / (n m²) of both (Deng, Knoblich & Lu 2018,
    "Applying the Delta Method in Metric Analytics"; for rates Katz et al. 1978). Shoppers are what was assigned, so
    shoppers are counted: the events of one are not independent.
    """
    if min(len(control), len(treated)) < 2 or control.mean() == 0 or treated.mean() == 0:
        return None
    ratio = float(treated.mean() / control.mean())
    spread = Z_95 * math.sqrt(_relative_variance(control) + _relative_variance(treated))
    return Lift(ratio - 1.0, ratio * math.exp(-spread) - 1.0, ratio * math.exp(spread) - 1.0)


def _relative_variance(values: np.ndarray) -> float:
    """Of the mean, over the mean squared."""
    return float(values.var() / (len(values) * values.mean() ** 2))


@dataclass(frozen=True)
class RatioCheck:
    """How likely a split as uneven as this is, where the weights are respected."""

    chi_square: float
    p_value: float

    @property
    def is_trusted(self) -> bool:
        return self.p_value >= UNTRUSTED_BELOW


def ratio_check(n_users: Sequence[int], weights: Sequence[float]) -> RatioCheck:
    """Pearson's chi-square of the users of each arm against the arms' weights; without users nothing is odd.

    A mismatch means that some shoppers are lost or counted in one arm alone, and that no lift can be believed (Fabijan
    et al. 2019, "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments").
    """
    total = sum(n_users)
    if total == 0:
        return RatioCheck(0.0, 1.0)
    expected = total * np.asarray(weights, dtype=np.float64) / sum(weights)
    statistic = float(((np.asarray(n_users) - expected) ** 2 / expected).sum())
    return RatioCheck(statistic, float(chdtrc(len(weights) - 1, statistic)))
