"""What shoppers did with the system's lists, as the storefront tells it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys.simulate import Truth
from recsys.simulate.clock import SECOND
from recsys.simulate.visitors import Choices, Visits

DWELL_S: Final = 40
"""Between two products that are looked at."""

CHECKOUT_S: Final = 260
_SHOWN_S, _FIRST_VIEW_S, _TO_CART_S = 2, 7, 25


def events_of(
    truth: Truth,
    visits: Visits,
    choices: Choices,
    prices: npt.NDArray[np.float64],
    recommendation_ids: Sequence[str],
    prefix: str,
) -> list[dict[str, Any]]:
    """The events of a day in the form of `POST /v1/events`: an impression for each item that was looked at, a view for
    each click, carts and purchases. Ids begin with `prefix` and are the same whenever the same happens."""
    events: list[dict[str, Any]] = []
    for visit, user_row in enumerate(visits.user_rows.tolist()):
        user_id = str(truth.user_ids[user_row])
        shared = {
            "user_id": user_id,
            "session_id": f"{prefix}-{user_id}",
            "recommendation_id": recommendation_ids[visit],
        }
        told = _of_visit(choices, visit, truth, prices)
        started = int(visits.started[visit])
        for number, (after_s, event) in enumerate(told):
            at = datetime.fromtimestamp((started + after_s * SECOND) / SECOND, tz=UTC)
            event_id = f"{prefix}-{user_id}-{number:03d}"
            events.append({"event_id": event_id, **shared, **event, "timestamp": at.isoformat()})
    return events


def _of_visit(
    choices: Choices, visit: int, truth: Truth, prices: npt.NDArray[np.float64]
) -> list[tuple[int, dict[str, Any]]]:
    """Seconds after the start, and what happened then."""

    def said(event_type: str, place: int) -> dict[str, Any]:
        return {"event_type": event_type, "item_id": str(truth.item_ids[choices.rows[visit, place]]), "position": place}

    told = [(_SHOWN_S, said("impression", place)) for place in np.flatnonzero(choices.is_seen[visit]).tolist()]
    clicked = np.flatnonzero(choices.is_clicked[visit]).tolist()
    checkout_s = _FIRST_VIEW_S + DWELL_S * len(clicked) + CHECKOUT_S
    bought = []
    for nth, place in enumerate(clicked):
        at_s = _FIRST_VIEW_S + DWELL_S * nth
        told.append((at_s, said("view", place)))
        if choices.is_carted[visit, place]:
            told.append((at_s + _TO_CART_S, said("cart", place)))
        if choices.is_bought[visit, place]:
            price = float(prices[choices.rows[visit, place]])
            bought.append((checkout_s, said("purchase", place) | {"value": price}))
    return told + bought
