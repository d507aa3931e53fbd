"""The process that listens on a port."""

import os
import socket

import pytest

from features.processes.port_holder import port_holder


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_holder_of_a_port_is_named(family: socket.AddressFamily, host: str) -> None:
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError as error:
        pytest.skip(f"{host}: {error}")
    with server:
        holder = port_holder(server.getsockname()[1])
    assert holder is not None
    assert holder.endswith(f" (pid {os.getpid()})")


def test_nobody_holds_a_free_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert port_holder(port) is None
