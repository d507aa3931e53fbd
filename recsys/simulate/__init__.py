"""The sample storefront: a seeded shop, its shoppers and what they do, with the true tastes kept for measuring."""

from recsys.simulate.storefront import SampleFiles, simulate
from recsys.simulate.truth import Truth, load_truth

__all__ = ["SampleFiles", "Truth", "load_truth", "simulate"]
