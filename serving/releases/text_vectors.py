"""Texts as vectors: encoded off the event loop, the most recent ones kept."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from recsys.errors import EncoderError, RecsysError
from serving.telemetry.metrics import TEXTS_CACHED, TEXTS_ENCODED
from serving.telemetry.tracing import span

log = logging.getLogger(__name__)


class TextEncoder(Protocol):
    """What the service needs of an encoder; see `features.encoder.encoder.Encoder`."""

    @property
    def id(self) -> str:
        """Vectors of two encoders may be compared only if their ids are equal."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, dim) float32 of norm 1."""


class TextVectors:
    """One encoder's vectors by cleaned text, least recently used first out.

    load: makes the encoder. It is called once, in the encoding thread.
    size: texts kept; 0 keeps none.
    """

    def __init__(self, load: Callable[[], TextEncoder], size: int) -> None:
        self._load = load
        self._size = size
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._keeping = threading.Lock()
        # One thread: two encodings at once would only share the same cores and delay both.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._encoder: Future[TextEncoder] = self._thread.submit(self._start)

    async def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The vector, (dim,) float32, of each text, in the order given.

        Raises EncoderError where the encoder could not be loaded.
        """
        known = {text: self._vectors[text] for text in texts if text in self._vectors}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        TEXTS_CACHED.inc(len(texts) - len(missing))
        if missing:
            TEXTS_ENCODED.inc(len(missing))
            loop = asyncio.get_running_loop()
            with span("encode texts", texts=len(missing)):
                matrix = await loop.run_in_executor(self._thread, self._encode, missing)
            known.update(zip(missing, matrix, strict=True))
        for text in texts:
            self._keep(text, known[text])
        return [known[text] for text in texts]

    def known(self, texts: Sequence[str]) -> list[np.ndarray] | None:
        """As `encode`, from any thread and at once: None where a text would have to be encoded first."""
        found = [self._vectors.get(text) for text in texts]
        known = [vector for vector in found if vector is not None]
        if len(known) < len(texts):
            return None
        TEXTS_CACHED.inc(len(texts))
        for text, vector in zip(texts, known, strict=True):
            self._keep(text, vector)
        return known

    def encode_now(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, dim) float32, for a thread that may wait; nothing is kept. Raises EncoderError as `encode`."""
        return self._thread.submit(self._encode, list(texts)).result()

    def wait_until_loaded(self) -> None:
        """Return when the encoder is ready, or has failed to load, which is logged and told by `encode`."""
        self._encoder.exception()

    def close(self) -> None:
        """End the encoding thread once the texts it holds are encoded; garbage collection does as much."""
        self._thread.shutdown(wait=False)

    def _start(self) -> TextEncoder:
        try:
            encoder = self._load()
        except Exception as error:
            log.error("encoder not loaded error=%s", error, exc_info=not isinstance(error, RecsysError))
            raise
        log.info("encoder loaded id=%s", encoder.id)
        return encoder

    def _encode(self, texts: list[str]) -> np.ndarray:
        failure = self._encoder.exception()
        if failure is not None:
            # A new exception each time: raising the same one again would lengthen its traceback without end.
            raise EncoderError(f"texts cannot be read: {failure}")
        return self._encoder.result().encode(texts)

    def _keep(self, text: str, vector: np.ndarray) -> None:
        with self._keeping:  # another thread may be about to forget the very same text
            self._vectors[text] = vector
            self._vectors.move_to_end(text)
            while len(self._vectors) > self._size:
                self._vectors.popitem(last=False)
