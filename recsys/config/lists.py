"""Settings of the rules by which lists are made. They travel with a release."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.config.section import Section


class RecommendSettings(Section):
    exclude_seen: bool = Field(
        True, description="Leave out items that the shopper has viewed. Bought items follow [repeats]."
    )
    max_count: int = Field(1000, ge=1, description="Longest list that a request may ask for.")
    trending_half_life_days: float = Field(
        7.0, gt=0, description="Age at which an event counts half in trending lists, in days."
    )
    item_page_share: float = Field(
        0.7, gt=0, lt=1, description="Weight of the items of the current page against the shopper's history."
    )
    query_text_weight: float = Field(
        2.0, gt=0, description="Weight of the text of the request against everything else together."
    )
    title_weight: float = Field(
        2.0,
        ge=0,
        description="Weight of matching title words in a search: points added to the score of the best match.",
    )


class RepeatsSettings(Section):
    mode: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether bought items may be recommended again. auto follows the shop's own purchases.",
    )
    after_days: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        "auto",
        description=("Minimum time since the last purchase, in days. auto: what is usual in the shop."),
    )
    min_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="With mode auto: minimum share of purchases that repeat an earlier one, to allow repeats.",
    )
    half_life_days: float = Field(
        90.0, gt=0, description="Age at which the last purchase counts half as a reason to buy again, in days."
    )


class NewItemsSettings(Section):
    share: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the places of each list that is reserved for items without buyers. 0 reserves none.",
    )
    max_shoppers: int = Field(
        0, ge=0, description="Maximum number of shoppers that an item may have had to count as new."
    )
    exploration: float = Field(
        0.5,
        ge=0,
        description=(
            "How much a new item that was rarely shown is preferred to one whose click rate is known: standard "
            "deviations added to the expected click rate."
        ),
    )
    prior_successes: float = Field(
        2.0,
        gt=0,
        description="Strength of the prior, in clicks. An item's own clicks must outweigh it before they count.",
    )


class EvidenceSettings(Section):
    per_item: int = Field(5, ge=0, le=50, description="Review sentences stored for each item to quote from. 0: none.")
    min_stars: float = Field(4.0, ge=1, le=5, description="Minimum stars of a review that may be quoted.")
    min_words: int = Field(
        5, ge=1, description="Minimum length of a sentence that may be quoted, and of its review, in words."
    )
    max_disagreement: float = Field(
        1.0,
        gt=0,
        le=2,
        description=(
            "Maximum difference between the stars and the sentiment of the words (each from -1 to 1) in a review that "
            "may be quoted."
        ),
    )


class ComplementsSettings(Section):
    per_item: int = Field(50, ge=0, description="Complements stored for each item: items bought with it. 0: none.")
    min_shoppers: int = Field(2, ge=1, description="Minimum number of shoppers who bought both items.")
    max_similarity: float = Field(
        0.55,
        ge=0,
        le=1,
        description=(
            "Items whose text similarity (cosine) exceeds this are of the same kind, and not complements of each other."
        ),
    )
