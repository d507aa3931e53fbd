import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.config import ArmSettings, ExperimentSettings
from recsys.experiments import Assignment, arm_of, assigned, lift, ratio_check

HALVES = {"as-is": 1.0, "mixed": 1.0}


def test_the_arm_follows_from_the_first_sixteen_bytes_of_the_hash() -> None:
    """ann takes part below a share of .576 and stands at .121 of the arms, eve below .789 and at .910."""
    start = hashlib.sha256(b"mix\0ann").digest()
    assert int.from_bytes(start[:8], "big") / 2**64 == pytest.approx(0.57568, abs=1e-5)
    assert arm_of("mix", 0.57, HALVES, "ann") is None
    assert arm_of("mix", 0.58, HALVES, "ann") == "as-is"
    assert arm_of("mix", 0.58, {"as-is": 1.0, "mixed": 9.0}, "ann") == "mixed"
    assert arm_of("mix", 0.78, HALVES, "eve") is None
    assert arm_of("mix", 0.79, HALVES, "eve") == "mixed"


@given(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_moves_nobody_to_another_arm(name: str, user_id: str, share: float, other: float) -> None:
    small, large = (arm_of(name, share, HALVES, user_id) for share in sorted((share, other)))
    assert small in (None, large)


def test_arms_are_filled_by_weight_and_experiments_split_independently() -> None:
    users = [f"u{n}" for n in range(20_000)]
    weights = {"a": 1.0, "b": 3.0}
    first = np.array([arm_of("one", 1.0, weights, user) == "b" for user in users])
    second = np.array([arm_of("two", 1.0, weights, user) == "b" for user in users])
    assert abs(first.mean() - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 20_000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(20_000)
    assert np.mean([arm_of("one", 0.2, weights, user) is not None for user in users]) == pytest.approx(0.2, abs=0.012)


def test_the_first_experiment_that_holds_the_shopper_counts_and_guests_are_in_none() -> None:
    arms = {"a": ArmSettings(), "b": ArmSettings(diversity=0.5)}
    experiments = {
        "none": ExperimentSettings(share=0.0, arms=arms),
        "mix": ExperimentSettings(arms=arms),
        "all": ExperimentSettings(arms=arms),
    }
    assert assigned(experiments, "eve") == Assignment("mix", "b", arms["b"])
    assert assigned(experiments, None) is None
    assert assigned({}, "eve") is None
    assert assigned({"none": experiments["none"]}, "eve") is None


def test_the_lift_of_a_rate_is_katz_interval() -> None:
    """20 of 100 against 30 of 100: 1.5 times, ln variance .8/20 + .7/30 = .063333; e^(1.96 * .25166) = 1.6376."""
    control, treated = np.repeat([1.0, 0.0], [20, 80]), np.repeat([1.0, 0.0], [30, 70])
    measured = lift(control, treated)
    assert measured is not None
    assert (measured.lift, measured.low, measured.high) == pytest.approx((0.5, -0.08403, 1.45643), abs=1e-4)
    assert not measured.is_clear


def test_the_lift_of_a_mean_counts_how_unlike_the_users_are() -> None:
    """Means 1 and 2, variances 1 and 4, four users each: 1/(4*1) + 4/(4*4) = .5, and e^(1.96 * .70711) = 3.9985."""
    measured = lift(np.array([0.0, 2.0, 0.0, 2.0]), np.array([0.0, 4.0, 0.0, 4.0]))
    assert measured is not None
    assert (measured.lift, measured.low, measured.high) == pytest.approx(
        (1.0, 2 / 3.9985 - 1, 2 * 3.9985 - 1), abs=1e-3
    )


@pytest.mark.parametrize(
    ("control", "treated"), [([], [1.0, 1.0]), ([0.0, 0.0], [1.0, 0.0]), ([1.0, 0.0], [0.0, 0.0]), ([1.0], [1.0, 0.0])]
)
def test_without_users_or_outcomes_there_is_no_lift(control: list[float], treated: list[float]) -> None:
    assert lift(np.array(control), np.array(treated)) is None


def test_of_arms_that_are_equal_the_interval_covers_no_lift_in_about_95_of_100() -> None:
    """Outcomes a shopper as in a shop: few have any, and some have many. 1,000 experiments: 95 % +- 4 deviations."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1_000):
        counts = rng.poisson(rng.gamma(0.3, 1.0, (2, 1_000)))
        measured = lift(counts[0].astype(float), counts[1].astype(float))
        assert measured is not None
        covered.append(not measured.is_clear)
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1_000)


def test_a_split_is_held_against_the_weights() -> None:
    """60 and 40 of 100 for equal weights: 100/50 + 100/50 = 4, whose p is .0455; 600 and 400: 40, p 2.5e-10."""
    fair = ratio_check([60, 40], [1.0, 1.0])
    assert (fair.chi_square, fair.p_value, fair.is_trusted) == (
        pytest.approx(4.0),
        pytest.approx(0.0455, abs=1e-4),
        True,
    )
    broken = ratio_check([600, 400], [1.0, 1.0])
    assert (broken.chi_square, broken.p_value, broken.is_trusted) == (
        pytest.approx(40.0),
        pytest.approx(2.54e-10, rel=0.01),
        False,
    )
    assert ratio_check([600, 400], [3.0, 2.0]).p_value == 1.0
    assert ratio_check([0, 0], [1.0, 1.0]).is_trusted
