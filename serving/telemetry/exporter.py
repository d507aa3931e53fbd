"""`python -m serving.telemetry.exporter`: the metrics of this machine's replicas for Prometheus, on a separate port.

Behind the proxies of several machines, `/metrics` answers for whichever machine a scrape reaches. A scraper that
scrapes this port on each machine gets them all. It asks for no key, so let only the scraper reach the port. Dead
replicas are recognized by their process ids, so in Kubernetes this container must share the replicas' process
namespace.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from prometheus_client import start_http_server

from serving.ingress.ray_proxy import EVERY_INTERFACE, METRICS_VARIABLE
from serving.telemetry.metrics import FOLDER, machine_registry

PORT: Final = 9464
EXIT_REFUSED: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until interrupted; returns 2 where the environment does not name the folder of the replicas' metrics."""
    parser = argparse.ArgumentParser(prog="python -m serving.telemetry.exporter", description=__doc__)
    parser.add_argument("--host", default=EVERY_INTERFACE)
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args(arguments)
    if FOLDER is None:
        print(f"recsys: error: {METRICS_VARIABLE} is not set; set it as for the replicas", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    server, thread = start_http_server(options.port, options.host, machine_registry(FOLDER))
    print(f"metrics of {os.fspath(FOLDER)} on {options.host}:{server.server_port}/metrics", flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
