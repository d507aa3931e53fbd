"""How many lists were refused before they reached a replica, as HAProxy counts it (`serving/ingress/haproxy.py`)."""

from __future__ import annotations

import os
from http.client import HTTPConnection, HTTPException
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from serving.ingress.haproxy import COUNTS_VARIABLE, FRONTEND, LISTS_VARIABLE
from serving.ingress.ray_proxy import LOOPBACK

TIMEOUT_S: Final = 1.0
DENIED: Final = "haproxy_frontend_requests_denied_total"


def n_refused() -> float | None:
    """By the HAProxy of this machine, since its configuration changed last, as a restart sets a counter back to 0; None
    where there is no door, or no answer: a scrape must not fail for it."""
    port = os.environ.get(COUNTS_VARIABLE, "")
    if LISTS_VARIABLE not in os.environ or not port.isdecimal():
        return None
    connection = HTTPConnection(LOOPBACK, int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics?scope=frontend")
        text = connection.getresponse().read().decode()
    except (OSError, HTTPException, UnicodeDecodeError):
        return None
    finally:
        connection.close()
    told = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(one.value for one in told if one.name == DENIED and one.labels.get("proxy") == FRONTEND)
