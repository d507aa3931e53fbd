"""Settings of what stops a nightly run or a release: checks of new data, the release gate, and fairness bounds."""

from __future__ import annotations

from pydantic import Field, model_validator

from recsys.config.section import Section


class LimitSettings(Section):
    """How far a figure of the new data may lie outside its usual range: beyond `warn` the run reports it, beyond
    `stop` the run stops."""

    warn: float = Field(ge=0, description="Beyond this the run reports a warning.")
    stop: float = Field(ge=0, description="Beyond this the run stops.")

    @model_validator(mode="after")
    def _in_order(self) -> LimitSettings:
        if self.stop < self.warn:
            raise ValueError(f"stop = {self.stop} lies below warn = {self.warn}; give it the same or more")
        return self


class ChecksSettings(Section):
    enabled: bool = Field(True, description="Check new data before anything is learned from it.")
    days: int = Field(28, ge=3, description="Number of days before the new data that define what is usual.")
    min_days: int = Field(3, ge=1, description="With fewer days than this to compare with, nothing is compared.")
    min_rows: int = Field(50, ge=1, description="With fewer events, texts or items than this a figure is not checked.")
    sigmas: float = Field(
        4.0,
        ge=0,
        description=(
            "Minimum distance outside the usual range, in standard errors. The days of a small shop differ by chance."
        ),
    )
    volume: LimitSettings = Field(
        LimitSettings(warn=2.0, stop=5.0), description="Events per day: how many times more or fewer than usual."
    )
    stalled_hours: LimitSettings = Field(
        LimitSettings(warn=36.0, stop=240.0),
        description="Hours that the newest event has fallen behind the clock since the last run.",
    )
    repeated: LimitSettings = Field(
        LimitSettings(warn=0.02, stop=0.2),
        description="Share of events that repeat another event in everything but the id, beyond the usual share.",
    )
    unknown_items: LimitSettings = Field(
        LimitSettings(warn=0.05, stop=0.25),
        description="Share of events on items that are not in the catalogue, beyond the usual share.",
    )
    quarantined: LimitSettings = Field(
        LimitSettings(warn=0.01, stop=0.1), description="Share of rows that broke a rule, beyond the usual share."
    )
    top_user_share: LimitSettings = Field(
        LimitSettings(warn=0.1, stop=0.25),
        description="Share of all events that come from the most active user, beyond the usual share.",
    )
    event_mix: LimitSettings = Field(
        LimitSettings(warn=0.1, stop=0.3),
        description="Share of events that are of another type than usual, beyond the usual variation.",
    )
    unavailable_items: LimitSettings = Field(
        LimitSettings(warn=0.1, stop=0.5),
        description="Share of the items available in the served release that are no longer available.",
    )
    price_level: LimitSettings = Field(
        LimitSettings(warn=1.2, stop=2.0),
        description="Change of item prices: by what factor the median item got dearer or cheaper.",
    )
    price_jumps: LimitSettings = Field(
        LimitSettings(warn=0.02, stop=0.2),
        description="Share of items that got more than 3 times dearer or cheaper.",
    )
    purchase_value: LimitSettings = Field(
        LimitSettings(warn=1.5, stop=3.0),
        description="Median value of purchases: by what factor it is above or below the usual range.",
    )
    text_length: LimitSettings = Field(
        LimitSettings(warn=1.5, stop=3.0),
        description="Length of searches and of reviews: by what factor it is above or below the usual range.",
    )
    letter_mix: LimitSettings = Field(
        LimitSettings(warn=0.1, stop=0.3),
        description=(
            "Share of letters in texts that differ from the usual letters, beyond the usual variation. It rises when "
            "texts arrive in another language."
        ),
    )
    scripts: LimitSettings = Field(
        LimitSettings(warn=0.05, stop=0.3),
        description="Share of letters of another script than usual, beyond the usual variation.",
    )
    served_auc: LimitSettings = Field(
        LimitSettings(warn=0.25, stop=0.5),
        description=(
            "Share lost of the served release's AUC above 0.5 on new choices: how much worse it predicts them than "
            "before."
        ),
    )
    served_auc_users: int = Field(500, ge=20, description="Number of shoppers on whom served_auc is measured.")


class GateSettings(Section):
    enabled: bool = Field(True, description="Compare the candidate with the served release before publishing it.")
    max_users: int = Field(2000, ge=1, description="Maximum number of shoppers whose lists are compared.")
    min_users: int = Field(50, ge=2, description="A slice with fewer shoppers cannot stop a release.")
    confidence_level: float = Field(
        0.99,
        gt=0,
        lt=1,
        description=(
            "A loss counts where its paired bootstrap confidence interval of this level lies entirely below zero."
        ),
    )
    max_loss: float = Field(0.03, ge=0, le=1, description="Maximum share of NDCG that may be lost over all shoppers.")
    max_slice_loss: float = Field(0.15, ge=0, le=1, description="Maximum share of NDCG that may be lost in one slice.")
    max_coverage_loss: float = Field(
        0.5, ge=0, le=1, description="Maximum share of catalogue coverage that may be lost."
    )
    max_degenerate: float = Field(0.02, ge=0, le=1, description="Maximum share of item vectors that may be zero.")
    max_neighbour_churn: float = Field(
        0.9,
        ge=0,
        le=1,
        description=(
            "Maximum mean share of an item's 10 nearest items that may differ from those in the served release."
        ),
    )
    max_slate_churn: float = Field(
        0.95,
        ge=0,
        le=1,
        description=(
            "Maximum mean share of items in the fixed shoppers' lists that may differ from those of the served release."
        ),
    )
    smoke_users: int = Field(50, ge=0, description="Number of fixed shoppers whose lists are checked.")


class FairnessSettings(Section):
    """By default nothing is bounded."""

    max_gini: float = Field(
        1.0,
        ge=0,
        le=1,
        description=(
            "Maximum Gini coefficient of how often items are shown. 0: all items equally often; 1: a few items take "
            "every place."
        ),
    )
    min_coverage: float = Field(
        0.0, ge=0, le=1, description="Minimum share of the catalogue that is shown to at least one shopper."
    )
    min_tail_ratio: float = Field(
        0.0,
        ge=0,
        description=(
            "Minimum exposure of the less popular half of the items, divided by their share of shoppers' choices."
        ),
    )
    max_miscalibration: float = Field(
        10.0,
        ge=0,
        description=(
            "Maximum mean divergence of the categories in a list from those in the shopper's history, in nats."
        ),
    )
    min_worst_group: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Minimum quality of the worst group of shoppers, divided by the mean of all groups.",
    )
