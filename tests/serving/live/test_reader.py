"""A read and what is made of it, in one visit to a thread; a slow database delays nobody for long."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from recsys.errors import StoreError
from serving.live.reader import PAUSE_S, LiveReader

SHORT_S = 0.1


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveReader]:
    monkeypatch.setattr("serving.live.reader.TIMEOUT_S", SHORT_S)
    reader = LiveReader(in_thread=True)
    yield reader
    reader.close()


def read(reader: LiveReader, call: Callable[[], int], then: Callable[[int], str]) -> str | None:
    return asyncio.run(reader.read(call, then))


def test_what_is_made_of_a_read_is_made_in_its_thread(reader: LiveReader) -> None:
    is_same_thread = read(reader, threading.get_ident, lambda ident: f"{ident == threading.get_ident()}")
    assert is_same_thread == "True"
    assert read(reader, threading.get_ident, lambda ident: f"{ident == threading.main_thread().ident}") == "False"


def test_what_is_made_may_take_longer_than_a_read_may(reader: LiveReader) -> None:
    def slowly(number: int) -> str:
        time.sleep(2 * SHORT_S)
        return str(number)

    assert read(reader, lambda: 7, slowly) == "7"
    assert read(reader, lambda: 8, str) == "8"


def test_a_read_that_hangs_is_given_up_and_then_left_alone(reader: LiveReader) -> None:
    released = threading.Event()

    def hang() -> int:
        released.wait()
        return 1

    assert read(reader, hang, str) is None
    assert read(reader, lambda: pytest.fail("asked while it is left alone"), str) is None
    released.set()


def test_a_read_that_fails_answers_nothing_and_is_not_tried_again_at_once() -> None:
    now = [0.0]
    reader = LiveReader(in_thread=True, clock=lambda: now[0])

    def fail() -> int:
        raise StoreError("live.sqlite: gone")

    assert read(reader, fail, str) is None
    assert read(reader, lambda: 1, str) is None
    now[0] = 2 * PAUSE_S
    assert read(reader, lambda: 1, str) == "1"
    reader.close()


@pytest.mark.parametrize("error", [StoreError("a release is damaged"), KeyError("kettle")])
def test_what_goes_wrong_behind_the_read_is_no_failure_of_the_database(reader: LiveReader, error: Exception) -> None:
    def wrong(_: int) -> str:
        raise error

    with pytest.raises(type(error), match=str(error)):
        read(reader, lambda: 1, wrong)
    assert read(reader, lambda: 1, str) == "1"


def test_a_quick_read_stays_in_its_thread_and_one_that_was_slow_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    reader = LiveReader(in_thread=False, clock=lambda: now[0])
    monkeypatch.setattr("serving.live.reader.TIMEOUT_S", SHORT_S)
    assert read(reader, threading.get_ident, str) == str(threading.get_ident())

    def slowly() -> int:
        time.sleep(2 * SHORT_S)
        return 1

    assert read(reader, slowly, str) == "1"  # it is there now, and the next reads wait for nothing
    assert read(reader, lambda: pytest.fail("asked while it is left alone"), str) is None
    now[0] = 2 * PAUSE_S
    assert read(reader, lambda: 2, str) == "2"

    def fail() -> int:
        raise StoreError("live.sqlite: gone")

    assert read(reader, fail, str) is None
    assert read(reader, lambda: 3, str) is None
    reader.close()
