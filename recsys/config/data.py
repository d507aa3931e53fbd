"""Settings of the data that models learn from: ingested files, item texts, and the weights of events."""

from __future__ import annotations

from pydantic import Field

from recsys.config.section import Section


class IngestSettings(Section):
    max_bad_share: float = Field(
        0.02, ge=0, le=1, description="Maximum share of a table's rows that may break a rule. Above it the run stops."
    )
    min_matched_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "Minimum share of events and reviews whose item is in the catalogue. Below it an ingest warns, and a "
            "nightly run is held back. 0 checks nothing."
        ),
    )
    future_slack_hours: float = Field(
        24.0, ge=0, description="How far ahead of the clock a timestamp may be, in hours."
    )
    batch_rows: int = Field(250_000, ge=1, description="Rows read at a time. Fewer rows need less memory.")
    undo_history: int = Field(
        12,
        ge=0,
        description=(
            "Number of most recent ingests that can be undone. The data that they replaced stays on disk until then. "
            "0 keeps none."
        ),
    )


class TextSettings(Section):
    token_budget: int = Field(128, ge=8, le=8192, description="Maximum length of an item's text, in tokens.")
    review_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "Maximum share of the token budget that sentences from reviews may take when the item also has a "
            "description."
        ),
    )
    max_reviews_read: int = Field(
        50, ge=0, description="Number of newest reviews of an item from which sentences are chosen."
    )


class InteractionsSettings(Section):
    impression: float = Field(0.0, ge=0, description="Weight of an impression: the item was shown.")
    view: float = Field(1.0, ge=0, description="Weight of a view.")
    click: float = Field(1.0, ge=0, description="Weight of a click.")
    cart: float = Field(3.0, ge=0, description="Weight of adding an item to the cart.")
    purchase: float = Field(5.0, ge=0, description="Weight of a purchase, and of a 5-star rating.")
    search: float = Field(0.0, ge=0, description="Weight of a search that names an item.")
    return_factor: float = Field(
        0.2, ge=0, le=1, description="Factor on the item's weight after the shopper returned it. 0 removes the weight."
    )
    half_life_days: float = Field(
        180.0, gt=0, description="Age at which an event counts half when the factors are trained, in days."
    )
    robot_events_per_day: int = Field(
        1_000,
        ge=0,
        description=(
            "A user with more events on one day, and without a purchase, is taken for a robot: models do not learn "
            "from such users, and the report names them. 0: every user counts."
        ),
    )
    max_history: int = Field(500, ge=1, description="Number of newest items kept in each shopper's history.")
