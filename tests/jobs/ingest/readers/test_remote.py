import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.ingest.readers.remote import fetch
from recsys.errors import DataError


class Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/hang.csv":
            self.server.stop.wait(5)  # type: ignore[attr-defined]
            return
        if self.path == "/drip.csv":
            self.send_response(200)
            self.end_headers()
            while not self.server.stop.wait(0.05):  # type: ignore[attr-defined]
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
            return
        if self.path == "/feed.csv" and self.headers["If-None-Match"] == '"1"':
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200 if self.path != "/gone.csv" else 404)
        self.send_header("Content-Type", "text/html" if self.path == "/login.csv" else "text/csv")
        if self.path == "/feed.csv":
            self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(b"id\n1\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.stop = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stop.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", ["feed.csv", "no_etag.csv"])
def test_an_unchanged_file_stays_as_it_is(tmp_path: Path, shop: str, name: str) -> None:
    path = fetch(f"{shop}/{name}", tmp_path)
    before = path.stat().st_mtime_ns
    assert fetch(f"{shop}/{name}", tmp_path) == path
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (b"id\n1\n", before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.csv", "the server answers 404"),
        ("login.csv", "a web page"),
        ("hang.csv", "no answer in time"),
        ("drip.csv", "no answer in time"),
    ],
)
def test_a_file_that_cannot_be_fetched_leaves_nothing(tmp_path: Path, shop: str, name: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(DataError, match=message) as refused:
        fetch(f"{shop}/{name}", tmp_path, timeout_s=0.2, total_s=0.2)
    assert time.monotonic() - start < 3
    assert "\n" not in str(refused.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
