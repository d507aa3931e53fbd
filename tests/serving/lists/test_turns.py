"""Steps on the event loop, one in each iteration."""

import asyncio
import itertools
from functools import partial

import pytest

from serving.lists.executor import in_turn


async def number_of(number: int) -> int:
    return number


def test_pieces_are_done_in_their_order_with_a_turn_between_them() -> None:
    done: list[str] = []

    async def take(turn: asyncio.Lock, name: str) -> None:
        async def step() -> None:
            done.append(name)

        await in_turn(turn, step)

    async def main() -> None:
        turn = asyncio.Lock()
        pieces = [asyncio.create_task(take(turn, name)) for name in "abc"]
        seen = []
        while not all(piece.done() for piece in pieces):
            await asyncio.sleep(0)
            seen.append(len(done))
        assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(seen))

    asyncio.run(main())
    assert done == ["a", "b", "c"]


def test_a_piece_that_fails_and_one_that_is_given_up_hold_nobody_up() -> None:
    async def fail() -> None:
        raise KeyError("kettle")

    async def never() -> None:
        pytest.fail("nobody waits for it")

    async def main() -> None:
        turn = asyncio.Lock()
        first = asyncio.create_task(in_turn(turn, fail))
        given_up = asyncio.create_task(in_turn(turn, never))
        last = asyncio.create_task(in_turn(turn, partial(number_of, 7)))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(KeyError):
            await first
        assert await asyncio.wait_for(last, 1) == 7
        assert await asyncio.wait_for(in_turn(turn, partial(number_of, 8)), 1) == 8

    asyncio.run(main())


def test_who_gives_up_in_the_very_turn_passes_it_on() -> None:
    async def main() -> None:
        turn = asyncio.Lock()
        tasks = [asyncio.create_task(in_turn(turn, partial(number_of, number))) for number in range(3)]
        await asyncio.sleep(0)  # the first has had its turn, the second is about to be told
        await asyncio.sleep(0)
        tasks[1].cancel()
        assert await asyncio.wait_for(tasks[2], 1) == 2
        assert await asyncio.wait_for(in_turn(turn, partial(number_of, 3)), 1) == 3

    asyncio.run(main())
