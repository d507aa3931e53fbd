"""Short work on the event loop, one piece in a turn: between two of them the loop looks at what has arrived."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """First come, first served. Without it as many pieces as had arrived would be done in one turn, and what came
    after them, were it only to be refused, would wait for all."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, work: Callable[[], T]) -> T:
        """What `work` answers, in a turn in which no other piece is done."""
        loop = asyncio.get_running_loop()
        if self._is_taken:
            place = loop.create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():  # its turn had come
                    self._pass_on()
                raise
        self._is_taken = True
        try:
            return work()
        finally:
            loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._is_taken = False
