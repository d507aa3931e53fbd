"""Query texts as vectors: encoded off the event loop, the most recently used ones cached."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
from cachetools import LRUCache

from recsys.errors import EncoderError, RecsysError
from serving.telemetry.metrics import TEXTS_CACHED, TEXTS_ENCODED
from serving.telemetry.tracing import span

log = logging.getLogger(__name__)


class TextEncoder(Protocol):
    """The part of an encoder that the service needs; see `features.encoder.encoder.Encoder`."""

    @property
    def id(self) -> str:
        """Vectors of two encoders can be compared only if their ids are equal."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, dim) float32 of norm 1."""


class TextVectors:
    """The vectors of one encoder by cleaned text, in a least recently used (LRU) cache.

    load: returns the encoder. It is called once, in the encoding thread.
    size: maximum number of cached texts; 0 caches none.
    """

    def __init__(self, load: Callable[[], TextEncoder], size: int) -> None:
        self._load = load
        self._vectors: LRUCache[str, np.ndarray] = LRUCache(maxsize=size)
        self._lock = threading.Lock()
        """Held for each use of the cache, as reading reorders it too."""
        # One thread: two encodings at the same time would share the same cores and delay each other.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._encoder: Future[TextEncoder] = self._thread.submit(self._start)

    async def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The vector, (dim,) float32, of each text, in the order of `texts`.

        Raises EncoderError where the encoder could not be loaded.
        """
        vectors = self._cached(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        TEXTS_CACHED.inc(len(texts) - len(missing))
        if missing:
            TEXTS_ENCODED.inc(len(missing))
            loop = asyncio.get_running_loop()
            with span("encode texts", texts=len(missing)):
                matrix = await loop.run_in_executor(self._thread, self._encode, missing)
            encoded = dict(zip(missing, matrix, strict=True))
            self._add(encoded)
            vectors |= encoded
        return [vectors[text] for text in texts]

    def known(self, texts: Sequence[str]) -> list[np.ndarray] | None:
        """The vectors of `texts` from the cache, without waiting, from any thread; None where one is not cached."""
        vectors = self._cached(texts)
        if any(text not in vectors for text in texts):
            return None
        TEXTS_CACHED.inc(len(texts))
        return [vectors[text] for text in texts]

    def encode_now(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, dim) float32, for a thread that may wait; not cached. Raises EncoderError as `encode` does."""
        return self._thread.submit(self._encode, list(texts)).result()

    def wait_until_loaded(self) -> None:
        """Return when the encoder is loaded, or has failed to load: that is logged, and raised by `encode`."""
        self._encoder.exception()

    def close(self) -> None:
        """End the encoding thread once its queued texts are encoded; garbage collection does the same."""
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
            raise EncoderError(f"texts cannot be encoded: {failure}")
        return self._encoder.result().encode(texts)

    def _cached(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        with self._lock:
            return {text: self._vectors[text] for text in texts if text in self._vectors}

    def _add(self, vectors: Mapping[str, np.ndarray]) -> None:
        if self._vectors.maxsize == 0:  # to which nothing can be added
            return
        with self._lock:
            self._vectors.update(vectors)
