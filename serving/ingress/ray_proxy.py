"""The proxy in front of the replicas, and Ray's environment variables for it, to be set before ray is imported.

HAProxy answers in a fraction of the Python proxy's time (docs/decisions.md). In HAProxy mode Ray listens on every
interface unless it is given a host, which `serving/app.py` always does; HAProxy's statistics pages (counts, no
content) stay on every interface. Ports, sockets and folder are chosen for each service, so several can run on one
machine.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

from features.processes.port_holder import port_holder
from features.workspace.api_keys import ApiKey
from recsys import config
from recsys.errors import ServeError
from serving.ingress.haproxy import COMMAND, COUNTS_VARIABLE, LISTS_VARIABLE, real_haproxy

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
EVERY_INTERFACE: Final = "0.0.0.0"
PUBLIC: Final = (EVERY_INTERFACE, "::")
"""What `serve.host` may be where other machines are to reach the service; the second is every interface of IPv6 and, as
Linux does it by default, of IPv4."""
PORTS: Final = range(20_000, 32_000)
BINARY_VARIABLE: Final = "RAY_SERVE_HAPROXY_BINARY_PATH"
METRICS_VARIABLE: Final = "SERVING_METRICS_FOLDER"
"""Environment variable: the folder of the replicas' metrics (`serving/telemetry/metrics.py`)."""


def check_reach(settings: config.ServeSettings, keys: Sequence[ApiKey], now: datetime, workspace: str) -> None:
    """Raise ServeError for a host that cannot be served, or one that others reach while no key is valid."""
    if settings.host not in (LOOPBACK, *PUBLIC):
        raise ServeError(
            f"serve.host = {settings.host!r}: use {LOOPBACK} (this machine alone), {EVERY_INTERFACE} (every interface, "
            "with API keys) or :: (the same with IPv6)"
        )
    if settings.host in PUBLIC and not any(key.is_valid(now) for key in keys):
        raise ServeError(
            f"serve.host = {settings.host!r} is open to other machines, and no API key is valid; "
            f"run `recsys keys create NAME --workspace {workspace}`, or use --host {LOOPBACK}"
        )


def check_port(settings: config.ServeSettings) -> None:
    """Raise ServeError where the port cannot be listened on, with the process that does where it can be seen."""
    _check_loopback()
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the proxy does: connections of a service that has just ended do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                holder = port_holder(settings.port)
                by = f" by {holder}; end it, or" if holder else ";"
                reason = f"port {settings.port} is in use{by} choose another with --port"
            elif error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                reason = f"serve.host = {settings.host!r}: IPv6 is off on this machine; use --host {EVERY_INTERFACE}"
            else:
                reason = f"port {settings.port} cannot be opened ({error.strerror}); choose another with --port"
            raise ServeError(reason) from None


def _check_loopback() -> None:
    """Ray's processes talk to each other there, also on a machine that has IPv6 addresses alone."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, 0))
        except OSError as error:
            raise ServeError(
                f"{LOOPBACK}: this machine does not have the address ({error.strerror}); add it with "
                f"`ip addr add {LOOPBACK}/8 dev lo`"
            ) from None


def ray_environment(settings: config.ServeSettings, run_dir: Path) -> dict[str, str]:
    """Environment variables for Ray and all processes that it starts.

    run_dir: a short path that no other user can enter. It holds HAProxy's admin socket: whoever opens that can
    redirect the traffic, and its path must stay under 98 characters with Ray's 67 appended.
    """
    # One arithmetic thread per replica: its matrix products are small, and a busy thread pool costs more in waiting
    # than it saves (docs/decisions.md).
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_worker_niceness": "0",  # 15 by default: any other process of the machine would have precedence
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        METRICS_VARIABLE: str(run_dir / "metrics"),
    }
    if not settings.haproxy:
        return environment
    if real_haproxy() is None:
        log.warning("haproxy not found, using ray's python proxy: adds several milliseconds to each request")
        return environment
    command = Path(sys.executable).with_name(COMMAND)
    if os.access(command, os.X_OK):
        environment |= {
            BINARY_VARIABLE: str(command),
            LISTS_VARIABLE: str(settings.max_concurrent_lists),
        }
    else:
        log.warning("load shedding by haproxy off, replicas refuse instead: install the package command=%s", command)
    metrics_port, stats_port, fallback_port = _free_ports(3)
    return environment | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Where a replica dies while it answers a request, another answers it. That is safe: reading changes nothing,
        # and events that carry ids, as those of the clients do, are stored once.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # Ray would write and parse a log line for each request; the service has its own metrics.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(run_dir / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(run_dir / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(run_dir / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(run_dir),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(run_dir / "server-state"),
        COUNTS_VARIABLE: str(metrics_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
    }


def _free_ports(count: int) -> list[int]:
    """Free ports outside the range from which the system hands out any free port, as Ray requests many before HAProxy
    listens. Raises ServeError where there are too few."""
    with ExitStack() as stack:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            # All stay open until the end, or the same port would be chosen twice.
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind((EVERY_INTERFACE, port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise ServeError(f"fewer than {count} free ports between {PORTS.start} and {PORTS.stop - 1}; free some of them")
