"""`python -m serving.telemetry.exporter`: what the replicas of this machine counted, for Prometheus, on a port of its
own.

Behind the proxies of several machines `/metrics` answers for whichever machine a scrape happens to reach; a scraper
that asks each machine here gets every one. No key is asked for: let nobody but the scraper reach the port. Dead
replicas are told by their process ids, so in Kubernetes this container must share the replicas' process namespace.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from serving.ingress.ray_proxy import EVERY_INTERFACE, METRICS_VARIABLE
from serving.telemetry.metrics import FOLDER, MEDIA_TYPE, exposition

PORT: Final = 9464
PATH: Final = "/metrics"
EXIT_REFUSED: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers until it is ended; 2 where the environment does not say where the replicas keep their counts."""
    parser = argparse.ArgumentParser(prog="python -m serving.telemetry.exporter", description=__doc__)
    parser.add_argument("--host", default=EVERY_INTERFACE)
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args(arguments)
    if FOLDER is None:
        print(f"recsys: error: {METRICS_VARIABLE}: not set; give it as to the replicas", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    with exporter(options.host, options.port) as server:
        print(f"metrics of {os.fspath(FOLDER)} on {options.host}:{server.server_port}{PATH}", flush=True)  # noqa: T201
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def exporter(host: str, port: int) -> ThreadingHTTPServer:
    """A server, listening; port 0 takes a free one. Raises OSError where the port cannot be had."""
    return ThreadingHTTPServer((host, port), _Answer)


class _Answer(BaseHTTPRequestHandler):
    """GET /metrics, and 404 for all else."""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content = exposition()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", MEDIA_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is that of the class above)
        """A scrape every few seconds is no news."""


if __name__ == "__main__":
    sys.exit(main())
