"""The inspection page: the map, an item among its neighbours, a shopper and the reasons of a list."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

COLOURED = """() => {
  const canvas = document.querySelector("#map canvas"), gl = canvas.getContext("webgl");
  const pixels = new Uint8Array(4 * canvas.width * canvas.height);
  gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let n = 0;
  for (let i = 0; i < pixels.length; i += 4) n += pixels[i] + pixels[i + 1] + pixels[i + 2] < 750;
  return n;
}"""
"""How many pixels of the map are not its ground."""


def settle(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def opened(shop: Any, page: Page, where: str = "") -> Page:
    page.goto(f"{shop.url}/inspect{where}")
    page.wait_for_selector("#map[data-drawn]")
    return page


@pytest.fixture
def inspect(shop: Any, page_of: Callable[..., Page]) -> Page:
    return opened(shop, page_of())


@pytest.fixture
def item_ids(shop: Any) -> list[str]:
    return shop.item_ids


def test_the_map_is_drawn_and_its_legend_switches_groups_off(inspect: Page, item_ids: list[str]) -> None:
    expect(inspect.locator("#map-title")).to_have_text(re.compile(r"All \d+ items"))
    expect(inspect.locator("#map-note")).to_contain_text("PCA")
    settle(inspect)
    drawn = inspect.evaluate(COLOURED)
    assert drawn > len(item_ids)
    for group in inspect.locator("#map-legend button").all():
        group.click()
    settle(inspect)
    assert inspect.evaluate(COLOURED) < drawn / 4
    inspect.get_by_label("Colour").select_option("popularity")
    expect(inspect.locator("#map-legend button").first).to_have_text(re.compile("new|tail"))
    settle(inspect)
    assert inspect.evaluate(COLOURED) > drawn / 2


def test_an_item_is_found_and_its_neighbours_lead_on(inspect: Page, item_ids: list[str]) -> None:
    inspect.get_by_role("searchbox").fill(item_ids[0])
    inspect.keyboard.press("Enter")
    main = inspect.get_by_role("main")
    main.get_by_role("link").first.click()
    expect(main.locator(".facts span").first).to_have_text(item_ids[0])
    for space in ("text", "cf", "fused"):
        expect(main.locator(f"[data-space={space}]")).to_be_visible()
    near = main.locator("[data-space=fused] li")
    expect(near).to_have_count(10)
    expect(inspect.locator("#map-marks .opened")).to_have_count(1)
    named = near.first.locator("a").inner_text()
    near.first.locator("a").click()
    expect(main.get_by_role("heading", level=1)).to_have_text(named)
    expect(main.get_by_role("heading", level=1)).to_be_focused()
    inspect.go_back()
    expect(main.locator(".facts span").first).to_have_text(item_ids[0])


def test_a_shopper_has_a_history_and_a_list_with_its_reasons(inspect: Page) -> None:
    main = inspect.get_by_role("main")
    first = main.get_by_role("link").first
    user_id = first.inner_text()
    first.click()
    expect(main.get_by_role("heading", level=1)).to_have_text(user_id)
    places = main.get_by_role("region", name="List").locator(".place")
    expect(places).to_have_count(10)
    places.first.get_by_text("Score details").click()
    expect(places.first.locator(".bar").first).to_be_visible()
    expect(main.get_by_role("region", name="History").locator("li").first).to_contain_text(
        re.compile(r"\d{4}-\d\d-\d\d")
    )


def test_keys_move_the_map_and_open_what_is_in_its_middle(inspect: Page) -> None:
    inspect.locator("#map").focus()
    settle(inspect)
    name_under = inspect.locator("#map-name")
    for _ in range(40):
        inspect.keyboard.press("ArrowRight" if name_under.inner_text() == "" else "+")
        settle(inspect)
        if name_under.inner_text():
            break
        inspect.keyboard.press("ArrowUp")
    name = name_under.inner_text()
    assert name
    inspect.keyboard.press("Enter")
    expect(inspect.get_by_role("main").get_by_role("heading", level=1)).to_contain_text(name[:40])


def test_a_click_on_a_point_opens_it_and_a_drag_does_not(inspect: Page) -> None:
    inspect.locator("#map").scroll_into_view_if_needed()
    box = inspect.locator("#map").bounding_box()
    assert box is not None
    place = inspect.evaluate(
        """async () => {
          const { ask } = await import("/web/js/api.js");
          const told = await ask("GET", "/v1/inspect/map");
          return { x: told.x[0] / 65535, y: told.y[0] / 65535, title: told.titles[0], id: told.item_ids[0] };
        }"""
    )
    unit = min(box["width"] - 2, box["height"] - 2) * 0.94
    at = (
        box["x"] + box["width"] / 2 + (place["x"] - 0.5) * unit,
        box["y"] + box["height"] / 2 - (place["y"] - 0.5) * unit,
    )
    inspect.mouse.move(at[0], at[1])
    expect(inspect.locator("#map-name")).to_have_text(place["title"])
    inspect.mouse.down()
    inspect.mouse.move(at[0] + 30, at[1] + 30, steps=3)
    inspect.mouse.up()
    assert "#" not in inspect.url
    inspect.mouse.down()
    inspect.mouse.up()
    expect(inspect.get_by_role("main").locator("[data-space=text]")).to_be_visible()


@pytest.mark.parametrize(
    ("where", "words"),
    [("#/item/nope-1", "item 'nope-1' is not in"), ("#/shopper/zz", "shopper 'zz'")],
    ids=["item", "shopper"],
)
def test_an_unknown_id_is_told_with_the_nearest(
    shop: Any, page_of: Callable[..., Page], where: str, words: str
) -> None:
    page = opened(shop, page_of(), where)
    main = page.get_by_role("main")
    expect(main).to_contain_text(words)
    main.get_by_role("link").first.click()
    expect(main.locator(".facts").first).to_be_visible()


def test_words_that_nothing_has_name_the_nearest_ids(inspect: Page) -> None:
    inspect.get_by_role("searchbox").fill("qqqq")
    inspect.get_by_role("button", name="Find").click()
    main = inspect.get_by_role("main")
    expect(main.get_by_role("heading", level=1)).to_have_text("No results for “qqqq”")
    expect(main.get_by_role("link")).not_to_have_count(0)


def test_a_phone_has_all_of_it_in_one_column(shop: Any, page_of: Callable[..., Page], item_ids: list[str]) -> None:
    page = opened(shop, page_of(width=390, height=844), f"#/item/{item_ids[0]}")
    expect(page.locator("[data-space=cf]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_operations_lead_to_it(shop: Any, page_of: Callable[..., Page]) -> None:
    page = page_of()
    page.goto(f"{shop.url}/ops")
    page.get_by_role("link", name="Inspect").click()
    expect(page.locator("#map-title")).to_contain_text("items")
