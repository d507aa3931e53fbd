"""The operations page, and the figures that it works out by itself."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from playwright.sync_api import Page, expect

from serving.routes.experiments import EXPERIMENTS_EXAMPLE

OPENER = build_opener(ProxyHandler({}))

EXPOSITION = r"""# HELP took Time.
took_bucket{le="0.01",route="a"} 60.0
took_bucket{le="0.02",route="a"} 90.0
took_bucket{le="+Inf",route="a"} 100.0
took_bucket{le="0.01",route="b \"c\""} 1.0
took_bucket{le="0.02",route="b \"c\""} 1.0
took_bucket{le="+Inf",route="b \"c\""} 1.0
"""


@pytest.fixture
def ops(shop: Any, page_of: Callable[..., Page]) -> Page:
    page = page_of()
    page.goto(f"{shop.url}/ops")
    expect(page.locator("#health")).to_have_text("Ready")
    return page


def worked_out(page: Page, module: str, expression: str, *arguments: Any) -> Any:
    """What the page's own module answers."""
    script = f"async (given) => {{ const m = await import('/web/js/{module}'); return {expression}; }}"
    return page.evaluate(script, list(arguments))


def test_traffic_latency_and_the_release_are_shown(shop: Any, ops: Page) -> None:
    def ask(user_id: str) -> None:
        body = json.dumps({"user_id": user_id, "count": 3}).encode()
        request = Request(f"{shop.url}/v1/recommend", body, {"content-type": "application/json"})
        OPENER.open(request, timeout=30).close()

    for number in range(8):
        ask(f"u{number}")
    expect(ops.locator("#latency circle")).to_have_count(3)
    expect(ops.locator("#traffic svg")).to_have_attribute(
        "aria-label", re.compile(r"Traffic: requests (0\.\d*[1-9]|[1-9])\S* requests/s")
    )
    expect(ops.locator("#routes th")).to_contain_text(["/v1/recommend"])
    release = json.load(OPENER.open(f"{shop.url}/v1/release", timeout=30))
    expect(ops.locator("#release dd").first).to_have_text(release["release_id"])
    fused = release["metrics"]["fused"]["all"]
    expect(ops.locator("#quality .served")).to_have_text(
        f"fused{fused['recall']:.3f}{fused['ndcg']:.3f}{fused['coverage']:.3f}"
    )


def test_no_experiments_are_invented(ops: Page) -> None:
    expect(ops.locator("#experiments")).to_be_hidden()


def answered(page: Page, **changed: Any) -> None:
    """Let the service tell of the experiment of the documentation, with a third arm, and with these fields."""
    answer = copy.deepcopy(EXPERIMENTS_EXAMPLE)
    (experiment,) = answer["experiments"]
    worse = {"arm": "without-trees", "rate": 0.079, "rate_lift": {"lift": -0.0125, "low": -0.14, "high": 0.131}}
    experiment["arms"].append(experiment["arms"][1] | worse)
    experiment |= changed
    page.route("**/v1/experiments?metric=purchase", lambda route: route.fulfill(json=answer))
    carts = copy.deepcopy(answer) | {"metric": "cart"}
    carts["experiments"][0]["arms"][1]["rate_lift"] = None
    page.route("**/v1/experiments?metric=cart", lambda route: route.fulfill(json=carts))


@pytest.mark.parametrize("width", [1280, 390])
def test_experiments_are_shown_with_their_lifts(shop: Any, page_of: Callable[..., Page], width: int) -> None:
    page = page_of(width=width)
    answered(page)
    page.goto(f"{shop.url}/ops")
    section = page.locator("#experiments")
    expect(section.get_by_role("heading", name="mixed-home")).to_be_visible()
    expect(section).to_contain_text("50 % of shoppers, since 2026-01-02 09:30 UTC")
    expect(section).to_contain_text("No sample ratio mismatch (p = 0.80)")
    rows = section.locator("tbody tr")
    expect(rows.nth(0)).to_contain_text("control")
    expect(rows.nth(1)).to_contain_text("+14.3 % +0.7 % to +29.8 %")
    expect(rows.nth(1).locator(".interval.clear")).to_be_visible()
    expect(rows.nth(2)).to_contain_text("−1.3 % −14.0 % to +13.1 %, not significant")
    expect(rows.nth(2).locator(".interval.clear")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    section.scroll_into_view_if_needed()


def test_another_outcome_is_asked_for_at_once(shop: Any, page_of: Callable[..., Page]) -> None:
    page = page_of()
    answered(page)
    page.goto(f"{shop.url}/ops")
    expect(page.locator("#experiments thead")).to_contain_text("bought")
    page.get_by_label("Outcome").select_option("cart")
    expect(page.locator("#experiments thead")).to_contain_text("added to cart")
    expect(page.locator("#experiments tbody tr").nth(1)).to_contain_text("not enough data")


def test_a_split_that_is_not_to_be_trusted_is_a_warning(shop: Any, page_of: Callable[..., Page]) -> None:
    page = page_of()
    answered(page, sample_ratio={"chi_square": 20.0, "p_value": 7.7e-6, "is_trusted": False}, n_switched=3)
    page.goto(f"{shop.url}/ops")
    warning = page.locator("#experiments .warn")
    expect(warning).to_contain_text("Sample ratio mismatch (p = 7.7e-6): do not trust these lifts")
    expect(warning).to_contain_text("3 shoppers saw a second arm")


def test_quantiles_are_linear_within_their_bucket(ops: Page) -> None:
    counts = "m.buckets(m.parsed(given[0]), 'took', (labels) => labels.route === 'a')"
    result = worked_out(
        ops, "prometheus.js", f"[0.3, 0.75, 0.99].map((share) => m.quantile(share, {counts}))", EXPOSITION
    )
    # 30 of 60 in (0, 10] ms; 15 of 30 in (10, 20]; the last bucket has no end.
    assert result == pytest.approx([0.005, 0.015, 0.02])
    assert worked_out(ops, "prometheus.js", "m.quantile(0.5, new Map([[1, 0], [Infinity, 0]]))") is None


def test_labels_with_quotes_are_read(ops: Page) -> None:
    result = worked_out(
        ops, "prometheus.js", "m.sum(m.parsed(given[0]), 'took_bucket', ({ route }) => route === 'b \"c\"')", EXPOSITION
    )
    assert result == 3


def test_counts_that_fall_are_a_new_start_and_no_traffic(ops: Page) -> None:
    between = "[...(m.between(new Map([[1, given[0]]]), new Map([[1, given[1]]])) ?? [])]"
    assert worked_out(ops, "prometheus.js", between, 5, 7) == [[1, 2]]
    assert worked_out(ops, "prometheus.js", between, 7, 5) == []


@pytest.mark.parametrize(
    ("most", "ticks"), [(0, [0, 1]), (7, [0, 2, 4, 6, 8]), (0.9, [0, 0.25, 0.5, 0.75, 1]), (100, [0, 25, 50, 75, 100])]
)
def test_axes_have_round_steps_up_to_the_largest_value(ops: Page, most: float, ticks: list[float]) -> None:
    assert worked_out(ops, "plot.js", "m.ticksTo(given[0])", most) == ticks


def test_a_gap_in_the_figures_is_a_gap_in_the_line(ops: Page) -> None:
    points = [[0, 1], [1, 1], [2, None], [3, 2]]
    drawn = "m.plot({series: [{name: 'x', points: given[0]}], from: 0, to: 3, unit: 's', label: 'x'})"
    path = worked_out(ops, "plot.js", f"{drawn}.querySelector('.line path').getAttribute('d')", points)
    assert (path.count("M"), path.count("L")) == (2, 1)


def test_what_the_encoder_cannot_read_is_among_the_facts_of_the_release(ops: Page) -> None:
    script = {"script": "CJK", "share": 1.0, "unknown": 0.75, "equal": 0.5, "letters_per_token": 1.0}
    texts = {"n_texts": 60, "unknown": 0.75, "equal": 0.5, "left_out": True, "scripts": [script]}
    release = {"release_id": "r", "as_of": "2026-01-01T00:00:00Z", "rows": {}, "encoder_id": "e", "texts": texts}
    facts = worked_out(ops, "release.js", "m.releaseFacts(given[0]).map((fact) => fact.textContent)", release)
    assert "75 % (CJK 75 %)" in facts
    assert "left out: set encoder.model to a multilingual encoder" in facts
    without = worked_out(ops, "release.js", "m.releaseFacts(given[0]).length", release | {"texts": None})
    assert without == len(facts) - 6
