"""The map in a real Chromium, whose WebGL is computed by the processor where there is no graphics card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Page, sync_playwright

from features.explore.atlas import Atlas

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
SWITCHES = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
N = 2_000


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    """A blue lamp on the left, a kettle in the middle, many mugs around; no point elsewhere."""
    rng = np.random.default_rng(0)
    xy = np.concatenate([[[0.1, 0.5], [0.5, 0.5]], 0.8 + 0.05 * rng.random((N - 2, 2))])
    names = ["lamp", "kettle", *["mug"] * (N - 2)]
    points = pl.DataFrame(
        {
            "kind": ["item", "query", *["item"] * (N - 2)],
            "id": [str(i) for i in range(N)],
            "text": [f"{name} {i}" for i, name in enumerate(names)],
            "group": ["Light", None, *["Kitchen"] * (N - 2)],
            "x": xy[:, 0],
            "y": xy[:, 1],
        }
    )
    clusters = pl.DataFrame({"x": [0.1, 0.82], "y": [0.5, 0.82], "n": [1, N - 2], "words": ["lamp", "mug"]})
    return Atlas("A map", points, clusters, ("Light", "Kitchen"))


@pytest.fixture(scope="module")
def page(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    file = atlas.save(tmp_path_factory.mktemp("page") / "atlas.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_page(viewport={"width": 900, "height": 700})
        page.set_default_timeout(60_000)
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
        page.goto(Path(file).as_uri())
        page.wait_for_selector("#map[data-drawn]")
        yield page
        assert wrong == []
        browser.close()


def settle(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def spot(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the untouched map is on the screen."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    unit = min(box["width"], box["height"]) * 0.94
    return box["x"] + box["width"] / 2 + (x - 0.5) * unit, box["y"] + box["height"] / 2 - (y - 0.5) * unit


def colour_at(page: Page, x: float, y: float) -> tuple[int, ...]:
    left, top = spot(page, x, y)
    settle(page)
    script = """([left, top]) => {
      const canvas = document.querySelector("canvas"), gl = canvas.getContext("webgl");
      const box = canvas.getBoundingClientRect(), pixel = new Uint8Array(4);
      const [x, y] = [Math.round(left - box.left), Math.round(box.height - (top - box.top))];
      gl.readPixels(x, y, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
      return [...pixel];
    }"""
    return tuple(page.evaluate(script, [left, top]))[:3]


def reset(page: Page) -> None:
    page.locator("#words").fill("")
    page.locator("#map").press("0")
    settle(page)


def test_points_have_the_colour_of_their_group_and_queries_are_black(page: Page) -> None:
    reset(page)
    assert colour_at(page, 0.1, 0.5) == (0, 114, 178)
    assert colour_at(page, 0.5, 0.5) == (0, 0, 0)
    assert colour_at(page, 0.3, 0.2) == (255, 255, 255)


def test_the_pointer_tells_what_a_point_is(page: Page) -> None:
    reset(page)
    page.mouse.move(*spot(page, 0.1, 0.5))
    assert page.locator("#tip").inner_text() == "lamp 0"
    page.mouse.move(*spot(page, 0.3, 0.2))
    assert page.locator("#tip").is_hidden()


def test_dragging_moves_the_map_with_the_pointer(page: Page) -> None:
    reset(page)
    left, top = spot(page, 0.1, 0.5)
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 60, top + 40, steps=4)
    page.mouse.up()
    page.mouse.move(left + 60, top + 41)
    assert page.locator("#tip").inner_text() == "lamp 0"


def test_the_wheel_zooms_about_the_pointer_and_keys_pan(page: Page) -> None:
    reset(page)
    left, top = spot(page, 0.1, 0.5)
    page.mouse.move(left, top)
    page.mouse.wheel(0, -400)
    settle(page)
    page.mouse.move(left, top + 1)
    assert page.locator("#tip").inner_text() == "lamp 0"
    page.locator("#map").press("ArrowLeft")
    page.mouse.move(left, top)
    assert page.locator("#tip").is_hidden()
    page.mouse.move(left + 60, top)
    assert page.locator("#tip").inner_text() == "lamp 0"


def test_the_legend_switches_a_group_off_and_on(page: Page) -> None:
    reset(page)
    button = page.get_by_role("button", name="Light")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert colour_at(page, 0.1, 0.5) == (255, 255, 255)
    button.click()
    assert colour_at(page, 0.1, 0.5) == (0, 114, 178)


def test_words_light_up_what_has_them(page: Page) -> None:
    reset(page)
    page.locator("#words").fill("MUG 19")
    assert page.locator("#status").inner_text() == f"{sum('19' in str(i) for i in range(2, N))} of 2,000 points"
    assert colour_at(page, 0.1, 0.5) == (225, 225, 225)


def test_clusters_are_named_where_they_lie(page: Page) -> None:
    reset(page)
    label = page.locator("#labels span", has_text="lamp").bounding_box()
    assert label is not None
    assert label["x"] + label["width"] / 2 == pytest.approx(spot(page, 0.1, 0.5)[0], abs=2)
