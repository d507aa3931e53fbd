"""What begins and ends with the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from serving.answer_writer import AnswerWriter
from serving.answering import Answering
from serving.moment import Moment


def lifespan_of(
    answering: Answering, writer: AnswerWriter | None, moment: Moment | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The writer starts with the service; at its end the last lists are made, what waits is written, and nothing is
    read any more."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if writer is not None:
            writer.start()
        yield
        for ending in (answering, writer, moment):
            if ending is not None:
                await asyncio.to_thread(ending.close)

    return lifespan
