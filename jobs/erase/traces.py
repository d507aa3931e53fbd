"""Collect what a shopper wrote from the lake, the releases and the live database, before anything is removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl
from pydantic import TypeAdapter

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.live.event_log import EventLog
from features.store.store import Store
from features.text.cleaning import clean, text_hash
from features.text.documents import newest_reviews, review_texts
from features.text.sentences import split_sentences
from jobs.lake.lake import Lake
from recsys.errors import StoreError
from recsys.tables import Reviews
from recsys.workspace import Workspace

_REVIEW_COLUMNS = ("review_id", "user_id", "item_id", "title", "text", "timestamp")


@dataclass(frozen=True)
class _SessionEvent:
    text: str | None = None


@dataclass(frozen=True)
class _LoggedRequest:
    text: str | None = None
    session: tuple[_SessionEvent, ...] | None = None


@dataclass(frozen=True)
class _LoggedAnswer:
    """The texts of a row of the answer log; its other fields are ignored."""

    request: _LoggedRequest | None = None


_LOGGED_ANSWER: Final = TypeAdapter(_LoggedAnswer)


@dataclass(frozen=True)
class Traces:
    """review_ids: of the shopper's reviews; texts: their searches, pages, titles, reviews and the sentences of these;
    hashes: keys of the stored vectors of such texts."""

    review_ids: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    hashes: frozenset[str] = frozenset()

    def __or__(self, other: Traces) -> Traces:
        return Traces(self.review_ids | other.review_ids, self.texts | other.texts, self.hashes | other.hashes)


def traces_of(workspace: Workspace, database: LiveDatabase, user_id: str) -> Traces:
    """Everything that the shopper wrote, wherever it is still stored."""
    lake = Lake(workspace.lake)
    is_of_user = pl.col("user_id") == user_id
    reviews = [lake.scan("reviews").filter(is_of_user).select(_REVIEW_COLUMNS).collect()]
    reviews += _published_reviews(workspace, user_id)
    written = lake.scan("events").filter(is_of_user & pl.col("text").is_not_null()).select("text").unique().collect()
    texts = {*written["text"], *_live_texts(database, user_id)}
    traces = _of_reviews(pl.concat(reviews).unique())
    return traces | Traces(frozenset(), frozenset(texts), frozenset(_hashes(texts)))


def _of_reviews(reviews: pl.DataFrame) -> Traces:
    whole = [text for name in ("title", "text") for text in reviews[name].drop_nulls()]
    plain = newest_reviews(reviews, reviews["item_id"].unique(), len(reviews))["text"]
    sentences = [sentence for text in plain for sentence in split_sentences(text)]
    texts = frozenset(text for text in (*whole, *sentences) if text.strip())
    hashes = frozenset((*_hashes(sentences), *review_texts(reviews)["text_hash"]))
    return Traces(frozenset(reviews["review_id"]), texts, hashes)


def _published_reviews(workspace: Workspace, user_id: str) -> Iterator[pl.DataFrame]:
    store = Store(workspace)
    for manifest in store.releases():
        try:
            release = store.open(manifest.release_id, verify=False)
        except StoreError:  # one that cannot be opened is removed as a whole
            continue
        reviews = release.table("reviews", _REVIEW_COLUMNS).filter(pl.col("user_id") == user_id)
        yield reviews.cast(
            {name: column.dtype for name, column in Reviews.columns().items() if name in _REVIEW_COLUMNS}
        )


def _live_texts(database: LiveDatabase, user_id: str) -> set[str]:
    if not database.exists:
        return set()
    texts = set(EventLog(database).texts_of(user_id))
    for content in AnswerLog(database).contents_of(user_id):
        request = _LOGGED_ANSWER.validate_json(content).request or _LoggedRequest()
        parts = (request.text, *(event.text for event in request.session or ()))
        texts.update(text for text in parts if text)
    return texts


def _hashes(texts: Iterable[str]) -> Iterator[str]:
    """Hashes of texts as searches and quoted sentences are stored: cleaned, and as they are."""
    for text in texts:
        yield text_hash(text)
        yield text_hash(clean(text))
