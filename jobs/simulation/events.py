"""What shoppers did with the system's lists, as events for the service."""

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
"""Time spent on the page of a clicked item."""

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
    """The events of a day as `POST /v1/events` takes them: an impression per viewed item, a view per click, carts and
    purchases. Event ids begin with `prefix` and are deterministic: simulating the same day gives the same ids."""
    events: list[dict[str, Any]] = []
    for visit, user_row in enumerate(visits.user_rows.tolist()):
        user_id = str(truth.user_ids[user_row])
        shared = {
            "user_id": user_id,
            "session_id": f"{prefix}-{user_id}",
            "recommendation_id": recommendation_ids[visit],
        }
        actions = _of_visit(choices, visit, truth, prices)
        started = int(visits.started[visit])
        for number, (after_s, event) in enumerate(actions):
            at = datetime.fromtimestamp((started + after_s * SECOND) / SECOND, tz=UTC)
            event_id = f"{prefix}-{user_id}-{number:03d}"
            events.append({"event_id": event_id, **shared, **event, "timestamp": at.isoformat()})
    return events


def _of_visit(
    choices: Choices, visit: int, truth: Truth, prices: npt.NDArray[np.float64]
) -> list[tuple[int, dict[str, Any]]]:
    """Seconds after the start of the visit, and the event at that time."""

    def event(event_type: str, place: int) -> dict[str, Any]:
        return {"event_type": event_type, "item_id": str(truth.item_ids[choices.rows[visit, place]]), "position": place}

    actions = [(_SHOWN_S, event("impression", place)) for place in np.flatnonzero(choices.is_seen[visit]).tolist()]
    clicked = np.flatnonzero(choices.is_clicked[visit]).tolist()
    checkout_s = _FIRST_VIEW_S + DWELL_S * len(clicked) + CHECKOUT_S
    bought = []
    for nth, place in enumerate(clicked):
        at_s = _FIRST_VIEW_S + DWELL_S * nth
        actions.append((at_s, event("view", place)))
        if choices.is_carted[visit, place]:
            actions.append((at_s + _TO_CART_S, event("cart", place)))
        if choices.is_bought[visit, place]:
            price = float(prices[choices.rows[visit, place]])
            bought.append((checkout_s, event("purchase", place) | {"value": price}))
    return actions + bought
