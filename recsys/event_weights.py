"""What a pair of user and item weighs, from the events between them: the rule of the nightly run and of the service.

The weights of a pair's events add up; a rating counts as a purchase from 5 stars down to nothing at 2. A return
multiplies the whole sum by `interactions.return_factor`, however often the item was returned and whatever followed.

The nightly run has all events of a pair at once (`pair_columns`, polars); the service has the pair as the release knows
it and adds the events of the event log and the session one by one (`EventWeights.after`). Both give the same for the
same events in the order of time; tests/recsys/test_event_weights.py compares them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl

from recsys import config
from recsys.tables import EVENT_TYPES

OWNED_TYPES: Final = ("purchase", "rating", "return")
"""These show that the shopper has, or had, the product, wherever it was bought."""

PASSIVE_TYPES: Final = ("impression", "search")
"""These make no pair unless the settings give them a weight."""

LOWEST_LIKED_STARS: Final = 2.0
HIGHEST_STARS: Final = 5.0

_SEARCH: Final = EVENT_TYPES.index("search")
_RETURN: Final = EVENT_TYPES.index("return")


class Pair(NamedTuple):
    """What a user did with an item so far.

    weight: >= 0, after returns; event_type: position in `EVENT_TYPES` of the strongest event, which is the last in that
    order, a search being the weakest (-1: no event yet); n_bought: purchases, and one more where the item was rated or
    returned before the first of them, as it was bought elsewhere then.
    """

    weight: float = 0.0
    event_type: int = -1
    n_bought: int = 0


class EventWeights:
    """The rule for one event at a time. by_type: what one event of each type weighs."""

    def __init__(self, settings: config.InteractionsSettings) -> None:
        self.by_type = event_weights(settings)
        self._returned = settings.return_factor

    def counts(self, event_type: str) -> bool:
        """Whether such an event makes a pair."""
        return event_type not in PASSIVE_TYPES or self.by_type[event_type] > 0

    def after(self, pair: Pair, event_type: str, stars: float | None = None) -> Pair:
        """The pair after one more event, for which `counts` is true. stars: of a rating."""
        weight, n_bought = self.by_type[event_type], pair.n_bought
        if event_type == "rating" and stars is not None:
            weight *= liked_share(stars)
        if event_type == "purchase":
            n_bought += 1
        elif event_type in OWNED_TYPES:
            n_bought = max(n_bought, 1)
        strongest = max(pair.event_type, EVENT_TYPES.index(event_type), key=_strength)
        total = self._before_returns(pair) + weight
        return Pair(total * self._returned if strongest == _RETURN else total, strongest, n_bought)

    def _before_returns(self, pair: Pair) -> float:
        if pair.event_type != _RETURN or self._returned == 0:  # of a sum times 0 nothing is left to add to
            return pair.weight
        return pair.weight / self._returned


def event_weights(settings: config.InteractionsSettings) -> dict[str, float]:
    """What one event of each type weighs; a rating without stars weighs as a purchase, a return nothing."""
    plain = {name: getattr(settings, name) for name in EVENT_TYPES if name not in ("rating", "return")}
    return {**plain, "rating": settings.purchase, "return": 0.0}


def liked_share(stars: float) -> float:
    """The share of a purchase's weight that a rating counts: nothing at 2 stars or less, all at 5."""
    return min(max((stars - LOWEST_LIKED_STARS) / (HIGHEST_STARS - LOWEST_LIKED_STARS), 0.0), 1.0)


def makes_pair(settings: config.InteractionsSettings) -> pl.Expr:
    """Whether an event makes a pair. Columns: item_id, event_type."""
    weights = event_weights(settings)
    ignored = [name for name in PASSIVE_TYPES if weights[name] == 0]
    return pl.col("item_id").is_not_null() & ~pl.col("event_type").cast(pl.String).is_in(ignored)


def weight_of_event(settings: config.InteractionsSettings) -> pl.Expr:
    """What an event alone weighs. Columns: event_type, value."""
    kind = pl.col("event_type").cast(pl.String)
    stars = ((pl.col("value") - LOWEST_LIKED_STARS) / (HIGHEST_STARS - LOWEST_LIKED_STARS)).clip(0.0, 1.0)
    plain = kind.replace_strict(event_weights(settings), default=0.0, return_dtype=pl.Float64)
    return plain * pl.when(kind == "rating").then(stars.fill_null(1.0)).otherwise(1.0)


def pair_columns(settings: config.InteractionsSettings) -> dict[str, pl.Expr]:
    """weight, event_type and n_bought of a group of events, as in `Pair`. Columns: event_type, timestamp, value."""
    kind, at = pl.col("event_type").cast(pl.String), pl.col("timestamp")
    weight = weight_of_event(settings)
    share = pl.when((kind == "return").any()).then(settings.return_factor).otherwise(1.0)
    is_purchase, is_owned = kind == "purchase", kind.is_in(OWNED_TYPES)
    first_purchase, first_owned = at.filter(is_purchase).min(), at.filter(is_owned).min()
    bought_elsewhere = is_owned.any() & (first_purchase.is_null() | (first_owned < first_purchase))
    strongest = pl.col("event_type").cast(pl.Enum(EVENT_TYPES)).filter(kind != "search").max()
    return {
        "weight": (weight.sum() * share).cast(pl.Float32),
        "event_type": strongest.fill_null("search"),
        "n_bought": (is_purchase.sum() + bought_elsewhere.cast(pl.UInt32)).cast(pl.Int32),
    }


def _strength(event_type: int) -> int:
    """Above no event stands a search, above it the other types in the order of `EVENT_TYPES`."""
    if event_type == _SEARCH:
        return -1
    return event_type if event_type >= 0 else -2
