"""A real server of the S3 protocol, and a proxy before it that counts requests and fails them as a test asks."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SERVER = Path(sys.executable).parent / "weed"
START_TIMEOUT_S = 90.0
LOWEST_PORT, HIGHEST_PORT = 15_000, 50_000
"""SeaweedFS listens for its own parts 10,000 ports above each."""


@dataclass
class Endpoint:
    """The proxy's address, what has come by, and what shall go wrong.

    fail: asked of each request (method, path) before it is passed on; a status to answer in its place, None for none.
    """

    url: str
    fail: Callable[[str, str], int | None] = lambda _method, _path: None
    requests: list[tuple[str, str]] = field(default_factory=list)
    n_bytes: int = 0


@contextmanager
def s3_server() -> Iterator[int]:
    """The port of a SeaweedFS that keeps nothing when it ends; it makes buckets when they are first written to."""
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    access = {"name": "test", "credentials": [{"accessKey": "test", "secretKey": "secret"}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [access]}))
    master, volume, filer, port = _free_ports(4)
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}"]
    ports = [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={port}"]
    # of the ports that it would take for tables the second server of a machine finds none, and ends
    ports += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    rest = ["-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=50"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SERVER, "server", *here, *ports, *rest], stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "log")
        yield port
    finally:
        process.kill()  # it would take its time, and keeps nothing
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def counting_proxy(port: int) -> Iterator[Endpoint]:
    """Passes on every request to the server at `port`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}")
    server.endpoint, server.target_port = endpoint, port  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        endpoint: Endpoint = self.server.endpoint  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        endpoint.requests.append((self.command, self.path))
        status = endpoint.fail(self.command, self.path)
        if status is not None:
            self._answer(status, [], b"")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target_port)  # type: ignore[attr-defined]
        # the Host of the request as well: it is signed
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        try:
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        except OSError:
            self.close_connection = True  # as if the server itself had hung up
            return
        finally:
            connection.close()
        endpoint.n_bytes += len(body) + len(content)
        self._answer(response.status, response.getheaders(), content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = lengths[0] if self.command == "HEAD" and lengths else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


for _method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
    setattr(_Handler, f"do_{_method}", _Handler.handle_any)


def _free_ports(n: int) -> list[int]:
    ports: set[int] = set()
    port = LOWEST_PORT + int(time.time() * 1000) % 20_000
    while len(ports) < n:
        port = port + 1 if port < HIGHEST_PORT else LOWEST_PORT
        if _is_free(port) and _is_free(port + 10_000):
            ports.add(port)
    return sorted(ports)


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise RuntimeError(f"SeaweedFS does not start: {log.read_text()[-500:]}")
