"""Connecting to Ray: where to, and what stays as it was."""

import signal

import pytest
import ray

from jobs.cluster.ray_cluster import LOCAL, cluster_address, start_ray


@pytest.mark.parametrize(("named", "address"), [(None, LOCAL), ("", LOCAL), ("local", LOCAL), ("a:6379", "a:6379")])
def test_without_a_name_ray_is_this_machine(named: str | None, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named is not None:
        monkeypatch.setenv("RAY_ADDRESS", named)
    assert cluster_address() == address


def test_what_a_command_does_on_sigterm_stays_where_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_over(**_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", take_over)
    before = signal.getsignal(signal.SIGTERM)
    start_ray()
    assert signal.getsignal(signal.SIGTERM) is before
