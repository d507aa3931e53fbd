"""The page of docs/browser.md in a real Chromium, from another origin than the service's."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page

from features.workspace.api_keys import ApiKey, Scope, digest
from serving.watch.keys import NO_KEYS, Keys

from .conftest import Shop

DOCUMENT = Path(__file__).parents[3] / "docs" / "browser.md"
KEY = "rk_page"


@pytest.fixture
def page_url(shop: Shop) -> Iterator[str]:
    """A shop's page of another origin that holds the snippet."""
    (snippet,) = re.findall(r"<!-- snippet -->\n```html\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    html = snippet.replace("https://recommend.example", shop.url).replace("rk_…", KEY)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(f"<!doctype html><link rel=icon href=data:,>{html}".encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_the_snippet_lists_products_and_sends_events_from_another_origin(
    shop: Shop, page_url: str, page_of: Callable[..., Page]
) -> None:
    made_at = datetime(2026, 1, 1, tzinfo=UTC)
    key = ApiKey(name="page", sha256=digest(KEY.encode()), scopes=(Scope.BROWSER,), created_at=made_at)
    shop.keys = Keys({key.sha256: key}, are_required=True)
    try:
        page = page_of()
        page.goto(page_url)
        page.wait_for_selector("#for-you li:nth-child(4)")
        with page.expect_request("**/v1/events?key=*") as sent:
            page.click("#for-you li")
        response = sent.value.response()
        assert response is not None
        assert response.status == 202
        assert re.fullmatch(r"visitor-[0-9a-f-]{32,36}", str(page.evaluate("localStorage.visitor")))
    finally:
        shop.keys = NO_KEYS


def test_the_description_of_the_api_needs_no_other_host(shop: Shop, page_of: Callable[..., Page]) -> None:
    page = page_of()
    page.goto(f"{shop.url}/docs")
    page.wait_for_selector('.opblock-summary-path:has-text("recommend")')
