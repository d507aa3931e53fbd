import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from recsys.errors import EncoderError
from serving.releases.text_vectors import TextEncoder, TextVectors


class Lengths:
    """A text's vector is its length."""

    id = "lengths"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(list(texts))
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def encode(vectors: TextVectors, *requests: list[str]) -> list[list[float]]:
    async def one_after_the_other() -> list[list[float]]:
        return [[float(vector[0]) for vector in await vectors.encode(texts)] for texts in requests]

    return asyncio.run(one_after_the_other())


def test_vectors_come_in_the_order_of_the_texts_and_each_text_is_encoded_once() -> None:
    encoder = Lengths()
    vectors = TextVectors(lambda: encoder, size=10)
    assert encode(vectors, ["bb", "a", "bb"], ["a", "ccc"], ["ccc", "bb"]) == [[2, 1, 2], [1, 3], [3, 2]]
    assert encoder.calls == [["bb", "a"], ["ccc"]]
    vectors.close()


def test_the_text_used_longest_ago_is_forgotten_first() -> None:
    encoder = Lengths()
    vectors = TextVectors(lambda: encoder, size=2)
    encode(vectors, ["a"], ["bb"], ["a"], ["ccc"], ["a"], ["bb"])
    assert encoder.calls == [["a"], ["bb"], ["ccc"], ["bb"]]
    vectors.close()


def test_a_request_of_more_texts_than_are_kept_is_answered_whole() -> None:
    vectors = TextVectors(Lengths, size=1)
    assert encode(vectors, ["a", "bb", "ccc"]) == [[1, 2, 3]]
    vectors.close()


def test_a_cache_of_size_0_caches_nothing() -> None:
    encoder = Lengths()
    vectors = TextVectors(lambda: encoder, size=0)
    assert encode(vectors, ["a"], ["a"]) == [[1], [1]]
    assert encoder.calls == [["a"], ["a"]]
    vectors.close()


def test_an_encoder_that_does_not_load_is_named_at_every_request(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> TextEncoder:
        raise EncoderError("weights altered")

    vectors = TextVectors(load, size=10)
    for _ in range(2):
        with pytest.raises(EncoderError, match="weights altered"):
            encode(vectors, ["a"])
    assert caplog.text.count("encoder not loaded") == 1
    vectors.close()


def test_what_is_cached_is_known_at_once_and_counts_as_used() -> None:
    encoder = Lengths()
    vectors = TextVectors(lambda: encoder, size=2)
    encode(vectors, ["a"], ["bb"])
    known = vectors.known(["a", "a"])
    assert known is not None and [float(vector[0]) for vector in known] == [1, 1]
    assert vectors.known(["a", "ccc"]) is None
    encode(vectors, ["ccc"])
    assert vectors.known(["a"]) is not None
    assert vectors.known(["bb"]) is None
    vectors.close()
