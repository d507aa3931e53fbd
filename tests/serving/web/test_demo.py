"""The demo shop as a visitor uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from serving.watch.keys import NO_KEYS, Keys

KEYBOARD = re.compile("keyboard", re.IGNORECASE)
KEYBOARDS = f"#/c/{'Electronics > Keyboards'.replace(' ', '%20').replace('>', '%3E')}"


def opened(page: Page, url: str, fragment: str = "") -> Page:
    page.goto(f"{url}/demo{fragment}")
    settled(page)
    return page


def settled(page: Page) -> None:
    """Waits until no shelf is being asked for."""
    expect(page.locator(".shelf")).not_to_have_count(0)
    expect(page.locator('.shelf[aria-busy="true"]')).to_have_count(0)


def answered(page: Page, act: Callable[[], Any], path: str = "/v1/recommend") -> None:
    """Waits until what is done has led to a question and the shelves have settled."""
    with page.expect_response(lambda response: path in response.url):
        act()
    settled(page)


def names(page: Page, shelf: str = "#for-you") -> list[str]:
    return page.locator(f"{shelf} .card .name").all_inner_texts()


def ids(page: Page, shelf: str = "#for-you") -> list[str]:
    return [each.get_attribute("data-item") or "" for each in page.locator(f"{shelf} .card").all()]


def is_keyboard(name: str) -> bool:
    return KEYBOARD.search(name) is not None


def height_of_keyboards(titles: list[str]) -> float:
    """The sum of 1 / place over the keyboards of a list."""
    return sum(1 / place for place, name in enumerate(titles, 1) if is_keyboard(name))


def test_a_visitor_who_opens_three_keyboards_sees_keyboards_move_up(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    before = names(page)
    page.goto(f"{shop.url}/demo{KEYBOARDS}")
    settled(page)
    for number in range(3):
        with page.expect_response(lambda response: response.url.endswith("/v1/events")) as sent:
            page.locator("#sells .card-open").nth(number).click()
        assert sent.value.status == 202
        expect(page.locator("#product-title")).to_be_focused()
        settled(page)
        page.keyboard.press("Escape")
    answered(page, lambda: page.get_by_role("link", name="All").click())
    page.wait_for_load_state("networkidle")  # closing the product has asked, too, and its answer may come first
    settled(page)
    after = names(page)
    assert height_of_keyboards(after) > height_of_keyboards(before)
    first = next(place for place, name in enumerate(after) if is_keyboard(name))
    expect(page.locator("#for-you .reason").nth(first)).to_contain_text("keyboard")
    expect(page.locator("#because h2")).to_contain_text("Because you viewed")
    assert all(map(is_keyboard, names(page, "#similar")[:3]))


def test_shelves_change_in_place_and_say_what_is_new(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    clicked, *others = ids(page)
    answered(page, lambda: page.locator("#for-you .card-open").first.click())
    expect(page.locator("#for-you h2")).to_have_text("For you")
    now = ids(page)
    assert clicked not in now  # it was seen
    arrived = page.locator("#for-you .card:has(.badge:has-text('New'))").all()
    assert [card.get_attribute("data-item") for card in arrived] == [item for item in now if item not in others]
    expect(page.locator("#announcer")).to_contain_text(re.compile(r"For you: \d+ products, first: "))


def test_a_product_tells_why_it_is_there_and_how_long_the_service_took(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url, "#/s/a%20quiet%20keyboard")
    assert all(map(is_keyboard, names(page, "#results")[:6]))
    expect(page.locator("#results .reason").first).to_have_text("Matches 'a quiet keyboard'")
    page.locator("#results .card-open").first.click()
    expect(page.locator("#why-words")).to_have_text("matches 'a quiet keyboard'")
    expect(page.locator("#why-scores .bar-name").filter(has_text="query_text")).to_be_visible()
    expect(page.locator("#calls tr").first).to_contain_text("ms")
    expect(page.locator("#product-beside h3").first).to_have_text("Similar")


def test_what_is_bought_leaves_the_cart_and_is_told(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    item = ids(page, "#trending")[0]
    card = page.locator(f'#trending [data-item="{item}"]')
    answered(page, lambda: card.get_by_role("button", name="Add to cart").click())
    expect(page.locator("#cart-count")).to_have_text("1")
    expect(page.locator("#complements h2")).to_have_text("Goes with your cart")
    card.get_by_role("button", name="In the cart").click()
    with page.expect_request(lambda request: "purchase" in (request.post_data or "")) as sent:
        page.get_by_role("button", name="Buy all").click()
    (event,) = sent.value.post_data_json["events"]
    assert (event["event_type"], event["item_id"]) == ("purchase", item)
    assert event["value"] > 0
    expect(page.get_by_text("Your cart is empty.")).to_be_visible()


def test_what_is_shown_is_told_once_with_its_list_and_place(shop: Any, page_of: Callable[..., Page]) -> None:
    page = page_of(height=2600)
    with page.expect_request(lambda request: "impression" in (request.post_data or "")) as sent:
        opened(page, shop.url)
    seen = [event for event in sent.value.post_data_json["events"] if event["event_type"] == "impression"]
    places = [(event["recommendation_id"], event["position"]) for event in seen]
    assert len(set(places)) == len(places) >= 12
    assert min(position for _, position in places) == 0


def test_a_known_shopper_is_picked_and_gets_another_list(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    stranger = ids(page)
    page.locator("#shopper").click()
    first = page.locator("#shopper-list .shopper").first
    user_id = first.locator(".shopper-id").inner_text()
    answered(page, first.click)
    expect(page.locator("#shopper-name")).to_have_text(user_id)
    assert ids(page) != stranger
    page.reload()
    settled(page)
    expect(page.locator("#shopper-name")).to_have_text(user_id)


def test_a_whole_visit_goes_by_keyboard(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the products")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    card = page.locator("#for-you .card-open").first
    expect(card).to_be_focused()
    assert card.evaluate("element => getComputedStyle(element).outlineWidth") == "3px"
    second = ids(page)[1]
    answered(page, lambda: page.keyboard.press("Enter"))
    expect(page.locator("#product-title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#product")).to_be_hidden()
    expect(page.locator("#for-you .card-open").first).to_be_focused()
    page.keyboard.press("Tab")
    answered(page, lambda: page.keyboard.press("Space"))
    expect(page.locator("#cart-count")).to_have_text("1")
    assert page.evaluate("document.activeElement.closest('#for-you') !== null")
    assert second
    page.locator("#search-field").focus()
    page.keyboard.type("keyboard")
    answered(page, lambda: page.keyboard.press("Enter"), "/v1/search")
    expect(page.locator("#results h2")).to_have_text("Results for “keyboard”")
    page.locator("#shopper").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#shopper-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#shopper-dialog")).to_be_hidden()
    expect(page.locator("#shopper")).to_be_focused()


def test_every_control_has_a_name(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    page.locator("#for-you .card-open").first.click()
    settled(page)
    for role in ("button", "link", "textbox", "searchbox"):
        for control in page.get_by_role(role).all():  # type: ignore[arg-type]
            label = control.evaluate("e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent")
            assert label.strip(), control.evaluate("e => e.outerHTML")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["/demo", f"/demo{KEYBOARDS}", "/demo#/cart", "/ops"], ids=["home", "category", "cart", "ops"]
)
def test_a_phone_scrolls_up_and_down_only(shop: Any, page_of: Callable[..., Page], path: str, scheme: str) -> None:
    page = page_of(360, 740, color_scheme=scheme, device_scale_factor=2)
    page.goto(shop.url + path)
    if path == "/ops":
        expect(page.locator("#health")).to_have_text("Ready")
    else:
        settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_product_covers_a_phone_and_gives_it_back(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(360, 740, device_scale_factor=2), shop.url)
    page.locator("#for-you .card-open").nth(1).click()
    expect(page.locator("#product-title")).to_be_in_viewport()
    assert page.locator("#main").evaluate("element => element.inert")
    settled(page)
    page.screenshot(path="out/test-artifacts/phone-product.png")
    page.get_by_role("button", name="Close").click()
    assert not page.locator("#main").evaluate("element => element.inert")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (e) => { const c = parts(getComputedStyle(e).backgroundColor);
    return c.length < 4 || c[3] > 0 ? c : e.parentElement ? ground(e.parentElement) : [255, 255, 255]; };
  return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest("svg, .unseen, .skip")
      && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => { const [a, b] = [light(parts(getComputedStyle(e).color)), light(ground(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.slice(0, 40)]; })
    .filter(([ratio]) => ratio < 4.5);
}"""
"""WCAG 2.1's contrast of every visible text against what is behind it; those below 4.5, which AA asks of small text."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(shop: Any, page_of: Callable[..., Page], scheme: str) -> None:
    page = opened(page_of(color_scheme=scheme, reduced_motion="reduce"), shop.url)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 21, 19)") == (scheme == "dark")
    answered(page, lambda: page.locator("#for-you .card-open").first.click())
    expect(page.locator("#product-beside h3").first).to_be_visible()
    assert page.evaluate(CONTRAST) == []


def test_nothing_moves_for_those_who_ask_for_calm(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(reduced_motion="reduce"), shop.url)
    answered(page, lambda: page.locator("#for-you .card-open").first.click())
    assert page.evaluate("document.getAnimations().length") == 0


HOSTILE = "<img src=x onerror=\"document.title='broken in'\"><script>alert(1)</script>"


def test_hostile_titles_and_queries_are_shown_as_they_are_written(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    item = ids(page, "#trending")[0]
    shop.change(item, title=HOSTILE)
    page.reload()
    settled(page)
    expect(page.locator(f'#trending [data-item="{item}"] .name')).to_have_text(HOSTILE)
    page.locator(f'#trending [data-item="{item}"] .card-open').click()
    expect(page.locator("#product-title")).to_have_text(HOSTILE)
    expect(page.locator("#because h2")).to_contain_text("<img src=x onerror=")
    page.locator("#search-field").fill(f"lamp {HOSTILE}")
    answered(page, lambda: page.keyboard.press("Enter"), "/v1/search")
    expect(page.locator("#results h2")).to_have_text(f"Results for “lamp {HOSTILE}”")
    assert page.locator("#main img, #panel img, #main script, #panel script").count() == 0
    assert "broken in" not in page.evaluate("document.title.split('–')[1]")


def test_what_is_sold_out_meanwhile_says_so_and_cannot_be_bought(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    item = ids(page, "#trending")[1]
    shop.change(item, available=False)
    page.locator(f'#trending [data-item="{item}"] .card-open').click()
    expect(page.locator("#product-note")).to_contain_text("Sold out")
    expect(page.locator("#product-buttons button").first).to_be_disabled()
    expect(page.locator("#product-buttons").get_by_role("button", name="Buy now")).to_be_disabled()
    expect(page.locator(f'#trending [data-item="{item}"]')).to_have_count(0)


def test_what_is_sold_out_stays_in_the_cart_and_is_not_bought(shop: Any, page_of: Callable[..., Page]) -> None:
    page = opened(page_of(), shop.url)
    item = ids(page, "#trending")[2]
    card = page.locator(f'#trending [data-item="{item}"]')
    answered(page, lambda: card.get_by_role("button", name="Add to cart").click())
    shop.change(item, available=False)
    page.locator("a", has_text="Cart").click()
    line = page.locator(f'.lines [data-item="{item}"]')
    expect(line).to_contain_text("Now sold out")
    page.get_by_role("button", name="Buy all").click()
    expect(page.locator("#announcer")).to_contain_text("0 products bought")
    expect(line).to_be_visible()


@pytest.fixture
def stoppable(shop: Any) -> Iterator[Any]:
    yield shop
    if not shop.is_running:
        shop.start()


def test_when_the_service_is_gone_the_page_says_so_keeps_what_it_shows_and_goes_on(
    stoppable: Any, page_of: Callable[..., Page]
) -> None:
    page = opened(page_of(), stoppable.url)
    shown = ids(page)
    stoppable.stop()
    page.locator("#for-you .card-open").first.click()
    expect(page.locator("#notice")).to_contain_text("The service does not respond.")
    expect(page.locator("#product-note")).to_contain_text("The service does not respond.")
    assert ids(page) == shown
    stoppable.start()
    expect(page.locator("#notice")).to_be_hidden()
    settled(page)
    assert len(ids(page)) == len(shown)


@pytest.fixture
def guarded(shop: Any, keys_of: Callable[..., Keys]) -> Iterator[Any]:
    shop.keys = keys_of(requests_per_s=1e6, max_concurrent=1000)
    yield shop
    shop.keys = NO_KEYS


def test_where_keys_are_needed_the_page_asks_for_one_and_keeps_it_for_the_tab(
    guarded: Any, page_of: Callable[..., Page]
) -> None:
    page = page_of()
    page.goto(f"{guarded.url}/demo")
    expect(page.get_by_role("heading", name="This service needs a key")).to_be_visible()
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-refused")).to_be_visible()
    page.get_by_label("API key").fill("both")
    page.keyboard.press("Enter")
    settled(page)
    assert len(ids(page)) == 12
    assert page.evaluate("[sessionStorage.getItem('recsys.key'), localStorage.length, document.cookie]") == [
        *("both", 0, ""),
    ]
    page.locator("#shopper").click()
    expect(page.locator("#shopper-note")).to_contain_text("scope admin")


def test_a_key_that_may_only_read_shows_the_shop_and_says_what_it_cannot(
    guarded: Any, page_of: Callable[..., Page]
) -> None:
    page = page_of()
    page.goto(f"{guarded.url}/demo")
    page.get_by_label("API key").fill("reader")
    page.keyboard.press("Enter")
    settled(page)
    page.locator("#for-you .card-open").first.click()
    expect(page.locator("#notice")).to_contain_text("Your actions are not recorded")
