"""How much a shopper likes what they see, and what follows from it: the same on a visit of the shop's own pages
(`journeys.py`) and of a list that was recommended (`visitors.py`)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.simulate.tastes import Floats

MAX_SHOWN: Final = 20
MIN_SHOWN: Final = 6
POSITION_COST: Final = 0.05
"""What each further place takes off a product's log odds."""

_USUAL_LIKING: Final = 3.0  # of a product that is viewed

Chances = npt.NDArray[np.float64]


def pull(liking: Floats) -> Floats:
    """How much more than usual a product pleases, -2 to 2. liking: utility inside its leaf."""
    pulled: Floats = np.clip((liking - _USUAL_LIKING) / 2.0, -2, 2)
    return pulled


def cart_chance(pulled: Floats) -> Chances:
    """Of a viewed product to be put into the cart."""
    return sigmoid(-1.6 + 0.8 * pulled)


def pay_chance(pulled: Floats) -> Chances:
    """Of a product in the cart to be paid in the same session."""
    return sigmoid(0.5 + 0.5 * pulled)


def sigmoid(logit: Floats | Chances) -> Chances:
    """The chance whose log odds these are."""
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)
