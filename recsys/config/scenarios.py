"""Settings of the lists for each kind of page, and of experiments that compare such lists."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from recsys.config.section import Section

COUNT: Final = "Number of items in a list."
DIVERSITY: Final = (
    "How strongly similar items in a list are avoided. 0: ranked by score alone; 1: by dissimilarity alone."
)
MAX_PER_CATEGORY: Final = "Maximum number of items of one category in a list. 0: no limit."
MAX_PER_BRAND: Final = "Maximum number of items of one brand in a list. 0: no limit."
COLLAPSE_VARIANTS: Final = "Show at most one of a product's variants, such as sizes and colours."
NEW_ITEMS: Final = "Share of the places of a list that is reserved for items without buyers."


class ScenarioSettings(Section):
    count: int = Field(10, ge=1, description=COUNT)
    diversity: float = Field(0.0, ge=0, le=1, description=DIVERSITY)
    max_per_category: int = Field(0, ge=0, description=MAX_PER_CATEGORY)
    max_per_brand: int = Field(0, ge=0, description=MAX_PER_BRAND)
    collapse_variants: bool = Field(False, description=COLLAPSE_VARIANTS)
    new_items: float = Field(0.1, ge=0, le=0.5, description=NEW_ITEMS)


class ScenariosSettings(Section):
    home: ScenarioSettings = Field(
        ScenarioSettings(count=20, diversity=0.5, max_per_category=4, collapse_variants=True),
        description="The home page.",
    )
    product: ScenarioSettings = Field(
        ScenarioSettings(count=8, collapse_variants=True, new_items=0.0), description="The page of an item."
    )
    cart: ScenarioSettings = Field(
        ScenarioSettings(count=6, max_per_category=2, collapse_variants=True, new_items=0.0), description="The cart."
    )
    search: ScenarioSettings = Field(ScenarioSettings(count=24, new_items=0.0), description="A page of search results.")
    email: ScenarioSettings = Field(
        ScenarioSettings(count=8, diversity=0.5, max_per_category=2, max_per_brand=2, collapse_variants=True),
        description="An email.",
    )


class ArmSettings(Section):
    """An arm of an experiment. None: the value of the request, else of its scenario."""

    weight: float = Field(
        1.0, gt=0, description="Share of the experiment's shoppers who get this arm, relative to the other arms."
    )
    release: str = Field("", description="Id of a published release. Empty: the release that is served.")
    ranker: Literal["learned", "weighted_sum"] = Field(
        "learned", description="weighted_sum ranks without the LightGBM trees of the release."
    )
    scenario: Literal["home", "product", "cart", "search", "email"] | None = Field(
        None, description="Scenario of requests that name none. Its count is not used."
    )
    diversity: float | None = Field(None, ge=0, le=1, description=DIVERSITY)
    max_per_category: int | None = Field(None, ge=0, description=MAX_PER_CATEGORY)
    max_per_brand: int | None = Field(None, ge=0, description=MAX_PER_BRAND)
    collapse_variants: bool | None = Field(None, description=COLLAPSE_VARIANTS)
    new_items: float | None = Field(None, ge=0, le=0.5, description=NEW_ITEMS)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class ExperimentSettings(Section):
    share: float = Field(
        1.0,
        ge=0,
        le=1,
        description=(
            "Share of the shoppers with a user_id who take part. 0 ends the experiment; its report stays available."
        ),
    )
    arms: dict[Name, ArmSettings] = Field(
        min_length=2,
        description=(
            "The arms, each by a name of your choice. The others are compared with the first. What an arm sets applies "
            "unless the request itself sets it, and before the scenario's value."
        ),
    )


EXAMPLE: Final = {
    "mixed-home": ExperimentSettings(
        share=0.5,
        arms={
            "as-is": ArmSettings(weight=1.0),
            "mixed": ArmSettings(
                release="",
                ranker="learned",
                scenario="home",
                diversity=0.7,
                max_per_category=3,
                max_per_brand=0,
                collapse_variants=True,
                new_items=0.1,
            ),
        },
    )
}
"""An experiment that the documentation shows."""
