from collections.abc import Callable
from typing import Any

import pytest
from list_requests import item_ids, recommend
from starlette.testclient import TestClient

from recsys.config import ArmSettings, Settings
from recsys.rules import PLAIN
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import MAX_BOOSTS, MAX_CONDITIONS, MAX_DEPTH, ListRequest, settled, to_rules

SCENARIOS = Settings().scenarios


def nested(depth: int) -> dict[str, Any]:
    """A filter of so many levels."""
    filter_: dict[str, Any] = {"brand": "Lux"}
    for _ in range(depth - 1):
        filter_ = {"not": filter_}
    return filter_


@pytest.mark.parametrize(
    ("filter_", "matches"),
    [
        ({"category": "wear > feet"}, {"sock"}),  # ann has the boot
        ({"category": ["Home > Light", "Wear"]}, {"coat", "lamp", "sock"}),
        ({"brand": "lux"}, {"lamp", "rug"}),
        ({"price": {"min": 15, "max": 60}}, {"lamp", "rug", "vase"}),
        ({"price": {"max": 60}, "category": "Home", "not": {"brand": "Lux"}}, {"vase"}),
        ({"or": [{"brand": "Cloth"}, {"attributes": {"colour": ["blue", "red"]}}]}, {"coat", "sock"}),
        ({"and": [{"category": "Home"}, {"price": {"min": 50}}]}, {"rug"}),
        ({"attributes": {"size": 43}}, set()),
        ({"available": True, "updated_after": "2025-12-31"}, {"coat", "lamp", "rug", "sock", "vase"}),
        (nested(MAX_DEPTH), {"coat", "sock", "vase"}),
    ],
)
def test_only_what_fulfils_the_filter_is_shown_and_counted(
    client: TestClient, filter_: dict[str, Any], matches: set[str]
) -> None:
    answer = recommend(client, user_id="ann", filter=filter_)
    assert set(item_ids(answer)) == matches
    assert answer["n_matched"] == len(matches)


@pytest.mark.parametrize(
    ("request_", "field", "message"),
    [
        ({"filter": {}}, "filter", "empty filter"),
        ({"filter": {"and": []}}, "filter", "empty filter"),
        ({"filter": {"colour": "red"}}, "filter.colour", "unknown field"),
        ({"filter": {"and": [{"brand": "a"}, {"price": {"min": -1}}]}}, "filter.and.1.price.min", "greater than"),
        ({"filter": {"price": {"least": 1}}}, "filter.price.least", "unknown field"),
        ({"filter": {"price": {"max": "cheap"}}}, "filter.price.max", "must be a number"),
        ({"filter": {"brand": [1]}}, "filter.brand.0", "must be a text"),
        ({"filter": {"or": []}}, "filter.or", "at least 1"),
        ({"filter": {"available": "yes"}}, "filter.available", "must be true or false"),
        ({"filter": {"attributes": {"size": {"a": 1}}}}, "filter.attributes.size.0", "a text, a number"),
        ({"filter": {"updated_after": "soon"}}, "filter.updated_after", "not a time; send ISO 8601"),
        ({"filter": nested(MAX_DEPTH + 1)}, "filter", f"nested {MAX_DEPTH} levels deep"),
        ({"filter": {"and": [{"brand": "a"}] * (MAX_CONDITIONS + 1)}}, "filter", f"{MAX_CONDITIONS} conditions"),
        ({"boosts": [{"filter": nested(500)}]}, "boosts.0.filter", "deep"),
        ({"boosts": [{"factor": 2}]}, "boosts.0.filter", "is missing"),
        ({"boosts": [{"filter": {"brand": "a"}, "factor": 0.5}]}, "boosts.0.factor", "greater than or equal to 1"),
        ({"boosts": [{"filter": {"brand": "a"}}] * (MAX_BOOSTS + 1)}, "boosts", f"at most {MAX_BOOSTS}"),
        ({"bury": [{"filter": {"brand": "a"}, "factor": 2}]}, "bury.0.factor", "less than or equal to 1"),
        ({"pins": [{"item_id": "a", "position": 0}]}, "pins.0.position", "greater than or equal to 1"),
        ({"pins": [{"item_id": "a", "position": 1}, {"item_id": "b", "position": 1}]}, "", "position 1 is given twice"),
        ({"diversity": 1.5}, "diversity", "less than or equal to 1"),
        ({"max_per_brand": -1}, "max_per_brand", "greater than or equal to 0"),
        ({"new_items": 0.6}, "new_items", "less than or equal to 0.5"),
        ({"explain": "yes"}, "explain", "must be true or false"),
        ({"scenario": "checkout"}, "scenario", "'home', 'product', 'cart', 'search' or 'email'"),
    ],
)
def test_a_bad_rule_is_named_with_its_fault(
    client: TestClient, request_: dict[str, Any], field: str, message: str
) -> None:
    response = client.post("/v1/recommend", json={"user_id": "ann", **request_})
    assert response.status_code == 422
    problem = response.json()
    assert (problem["errors"][0]["field"], response.headers["content-type"]) == (field, "application/problem+json")
    assert message in problem["errors"][0]["message"]


def test_the_conditions_of_all_rules_are_counted_together(client: TestClient) -> None:
    half = {"and": [{"brand": "a"}] * (MAX_CONDITIONS // 2)}
    allowed = {"user_id": "ann", "filter": half, "boosts": [{"filter": half}]}
    assert client.post("/v1/recommend", json=allowed).status_code == 200
    refused = client.post("/v1/recommend", json={**allowed, "bury": [{"filter": {"brand": "a"}}]})
    assert refused.status_code == 422
    assert f"{MAX_CONDITIONS + 1} conditions in all filters" in refused.json()["detail"]


def test_a_body_of_endless_nesting_is_refused_not_a_failure(client: TestClient) -> None:
    body = '{"user_id": "ann", "filter": ' + '{"not": ' * 50_000 + "{}" + "}" * 50_001
    response = client.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)


def test_pins_boosts_and_limits_shape_the_list(client: TestClient) -> None:
    pinned = recommend(client, user_id="zoe", pins=[{"item_id": "coat", "position": 1}], count=3)
    assert (item_ids(pinned)[0], pinned["items"][0]["source"]) == ("coat", "pinned")
    boosted = recommend(client, user_id="zoe", boosts=[{"filter": {"brand": "Cloth"}, "factor": 100}])
    assert item_ids(boosted)[0] == "coat"
    buried = recommend(client, user_id="zoe", bury=[{"filter": {"brand": "Lux"}}])
    assert set(item_ids(buried)[-2:]) == {"lamp", "rug"}
    assert len(recommend(client, user_id="zoe", max_per_category=1)["items"]) == 4


def test_without_rules_nothing_more_is_sent_than_before(client: TestClient) -> None:
    answer = recommend(client, user_id="ann")
    assert answer.keys() == {"recommendation_id", "items", "fallback", "release_id", "took_ms"}
    assert answer["items"][0].keys() == {"item_id", "score", "rank", "source", "title"}


def test_properties_come_where_they_are_asked_for(client: TestClient) -> None:
    (first, *_) = recommend(client, user_id="ann", return_properties=True)["items"]
    assert first["properties"] == {
        "title": "Sock",
        "category": "Wear > Feet",
        "brand": "Foot",
        "price": 5.0,
        "available": True,
        "updated_at": "2026-01-01T00:00:00Z",
        "attributes": {"colour": ["grey", "blue"]},
        "rating": None,
        "n_reviews": 0,
    }


def test_a_reason_names_what_others_bought_and_quotes_a_review(client: TestClient) -> None:
    (first, *_) = recommend(client, user_id="ann", explain=True)["items"]
    assert first["item_id"] == "sock"
    assert first["reason"] == {
        "kind": "together",
        "text": "customers who bought boot also bought this",
        "item_id": "boot",
    }
    assert first["evidence"] == {"text": "Warm in my shoes.", "review_id": "r1", "stars": 5.0, "matched_on": "history"}
    assert max(first["scores"], key=first["scores"].__getitem__) == first["source"] == "linear"


def test_a_sentence_is_quoted_in_the_reason_and_answered_by_the_review_nearest_to_it(client: TestClient) -> None:
    items = recommend(client, text="warm clothes", explain=True)["items"]
    sock = next(item for item in items if item["item_id"] == "sock")
    assert sock["reason"] == {"kind": "words", "text": "matches 'warm clothes'", "item_id": None}
    assert (sock["evidence"]["review_id"], sock["evidence"]["matched_on"]) == ("r2", "text")
    coat = next(item for item in items if item["item_id"] == "coat")
    assert coat["evidence"] is None


def test_a_scenario_presets_what_the_request_leaves_open() -> None:
    request = settled(ListRequest(user_id="ann", scenario="email"), SCENARIOS)
    assert request.count == SCENARIOS.email.count
    rules = to_rules(request)
    assert (rules.diversity, rules.max_per_brand, rules.collapse_variants) == (0.5, 2, True)
    assert rules.new_items == SCENARIOS.email.new_items


def test_what_the_request_says_goes_before_its_scenario() -> None:
    with_values = ListRequest(
        user_id="ann",
        scenario="email",
        count=10,
        diversity=0.0,
        max_per_brand=0,
        collapse_variants=False,
        new_items=0.5,
    )
    request = settled(with_values, SCENARIOS, ArmSettings(diversity=1.0, max_per_brand=5))
    assert request.count == 10
    rules = to_rules(request)
    assert (rules.diversity, rules.max_per_brand, rules.collapse_variants, rules.new_items) == (0.0, 0, False, 0.5)
    assert rules.max_per_category == SCENARIOS.email.max_per_category


def test_without_a_scenario_the_rules_are_plain() -> None:
    request = ListRequest(user_id="ann")
    assert settled(request, SCENARIOS) is request
    assert to_rules(request) == PLAIN
    assert request.count == 10


def test_an_arm_goes_before_the_scenario_and_its_own_scenario_is_for_requests_without() -> None:
    arm = ArmSettings(scenario="email", diversity=0.0, max_per_category=3)
    home = to_rules(settled(ListRequest(user_id="ann", scenario="home"), SCENARIOS, arm))
    assert (home.diversity, home.max_per_category, home.max_per_brand) == (0.0, 3, SCENARIOS.home.max_per_brand)
    plain = settled(ListRequest(user_id="ann"), SCENARIOS, arm)
    assert (plain.diversity, plain.max_per_category, plain.max_per_brand) == (0.0, 3, SCENARIOS.email.max_per_brand)
    assert plain.count == 10


def test_the_shops_scenario_counts(live: ActiveRelease, client_of: Callable[..., TestClient]) -> None:
    settings = Settings.model_validate({"scenarios": {"cart": {"count": 2}}, "recommend": {"max_count": 5}})
    client = client_of(live, settings)
    assert len(recommend(client, item_ids=["boot"], scenario="cart")["items"]) == 2
    refused = client.post("/v1/recommend", json={"user_id": "ann", "scenario": "home"})
    assert refused.status_code == 422  # the preset asks for more than this shop's longest list
