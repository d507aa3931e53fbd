"""The pages in a real Chromium, over a small fitted release of the sample storefront."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from features.encoder.encoder import load_encoder
from features.live.database import open_live_database
from features.live.item_changes import ItemChange, ItemChanges
from features.store.release import load_release
from recsys.config import ServeSettings, Settings
from recsys.workspace import Workspace
from serving.api import create_app
from serving.live.catalogue import LiveCatalogue
from serving.releases.active import ActiveRelease
from serving.releases.text_vectors import TextVectors
from serving.state import ServiceState
from serving.watch.keys import NO_KEYS, Keys

ARTIFACTS = Path(__file__).parents[3] / "out" / "test-artifacts"
CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
SWITCHES = [
    *(
        "--no-sandbox",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *("--disable-component-update", "--disable-sync"),
]
REFUSED = "Failed to load resource"
"""What Chromium itself says of an answer that is no success; a test of one expects it."""


class Shop:
    """A service that can be stopped and started again at the same address; `keys` may be set while it runs."""

    def __init__(self, workspace: Workspace, live_folder: Path) -> None:
        release = load_release(workspace)
        self._live = ActiveRelease(release, TextVectors(lambda: load_encoder(release.encoder), size=100))
        self._database = open_live_database(Workspace(live_folder), "")
        self._changes = ItemChanges(self._database)
        self._catalogue = LiveCatalogue(lambda: self._live, self._changes, poll_s=1)  # looks when told to
        self.keys: Keys = NO_KEYS
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def item_ids(self) -> list[str]:
        return self._live.release.recommender.item_ids

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        settings = Settings(serve=ServeSettings(cors_origins=("*",)))
        app = create_app(settings, ServiceState(lambda: self._catalogue.live, self._database, keys=lambda: self.keys))
        ready = threading.Event()

        class ReadyServer(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                ready.set()

        self._server = ReadyServer(
            uvicorn.Config(app, port=self._port, log_config=None, ws="none", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert ready.wait(timeout=30)

    def change(self, item_id: str, **fields: Any) -> None:
        """As `PUT /v1/items/ITEM_ID`; in the lists when this returns."""
        self._changes.put([ItemChange(item_id, fields)], datetime.now(UTC))
        assert self._catalogue.poll()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self._live.texts.close()
        self._database.close()


@pytest.fixture(scope="module")
def shop(published_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    running = Shop(published_shop.workspace, tmp_path_factory.mktemp("live"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser(shop: Shop) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def page_of(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Opens pages, each a visitor of its own; what they end with lies in `out/test-artifacts/` under the test's name.

    Fails where a script fails, where Chromium's console shows an error, or where anything is asked of another host.
    """
    contexts = []
    wrong: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(REFUSED):
            wrong.append(message.text)

    def make(width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", heard)
        page.on("request", lambda sent: None if "//127.0.0.1:" in sent.url else wrong.append(sent.url))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        return page

    yield make
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for i, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=ARTIFACTS / f"{request.node.name.removeprefix('test_')}{f'-{i}' if i else ''}.png")
        context.close()
    assert wrong == []
