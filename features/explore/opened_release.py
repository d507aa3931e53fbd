"""One release opened for looking: tables, vectors, neighbours, slates, the map, and how its lists serve whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from features.encoder.encoder import Encoder, load_encoder
from features.encoder.query_encoder import load_query_encoder
from features.explore.atlas import Atlas, SideBySide, side_by_side
from features.explore.explained_slate import ExplainedSlate
from features.explore.judging import Judged, judged
from features.explore.mapping import draw_atlas
from features.explore.reviews_behind import reviews_behind
from features.explore.showing import as_html, as_text
from features.store.release import LoadedRelease, load_release
from features.store.store import Release, Store
from features.workspace.lake_files import scan_table
from recsys import config
from recsys.embedding_health import health, neighbour_agreement
from recsys.errors import DataError, QueryError, UnknownItemError
from recsys.list_exposure import ListExposure, reach
from recsys.nearest_ids import nearest_ids
from recsys.neighbours import SPACES, Space, nearest_items, space_vectors
from recsys.query import Query, Signal
from recsys.recommend import Recommender
from recsys.rules import PLAIN, Rules
from recsys.tables import EVENT_TYPES
from recsys.top_k import top_k
from recsys.workspace import Workspace

Act = Signal | str | tuple[str, str]
"""Of a session: an item's id for a view, or an event type with an item's id, or ("search", words)."""


class OpenedRelease:
    """Reads from disk when asked, and keeps what it has read. Errors name the nearest ids where one is unknown."""

    def __init__(self, workspace: Workspace, release_id: str) -> None:
        self.workspace = workspace
        self.release_id = release_id
        self._stored: Release = Store(workspace).open(release_id)
        self.manifest = self._stored.manifest

    # tables and vectors

    @property
    def items(self) -> pl.LazyFrame:
        """Every item: the catalogue's columns, ratings, popularity, vectors; ascending by item_id."""
        return self._table("items")

    @property
    def users(self) -> pl.LazyFrame:
        """Every shopper: history, vectors; ascending by user_id."""
        return self._table("users")

    @property
    def reviews(self) -> pl.LazyFrame:
        """Every review: stars, text, sentiment, vector."""
        return self._table("reviews")

    @property
    def events(self) -> pl.LazyFrame:
        """The lake's events that happened before this release."""
        return scan_table(self.workspace.lake, "events").filter(pl.col("timestamp") < self.manifest.as_of)

    def vectors(self, space: Space) -> np.ndarray:
        """(n_items, dim) float32, row by row the items of `item_ids`; a zero row where an item has no vector."""
        return space_vectors(self.recommender, space)

    @property
    def item_ids(self) -> list[str]:
        return self.recommender.item_ids

    @cached_property
    def loaded(self) -> LoadedRelease:
        """As the service loads it."""
        return load_release(self.workspace, self.release_id)

    @property
    def recommender(self) -> Recommender:
        return self.loaded.recommender

    @property
    def settings(self) -> config.Settings:
        """What the release was made with."""
        catalogue = self.loaded.catalogue
        return catalogue.settings if catalogue else config.Settings()

    @cached_property
    def encoder(self) -> Encoder:
        """What the texts' vectors were made with."""
        return load_encoder(self.loaded.encoder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) of norm 1, as the service reads queries: they may be compared with the space "text"."""
        return self._query_encoder.encode(texts)

    # questions

    def neighbours(self, item_id: str, space: Space = "fused", count: int = 10) -> pl.DataFrame:
        """place, item_id, title, category, cosine of the items most like this one in that space."""
        row = self.row_of(item_id)
        rows, cosines = nearest_items(self.vectors(space), row, count)
        if not len(rows) and not self.vectors(space)[row].any():
            raise DataError(f"item {item_id!r} has no vector in the space {space!r}: it has no data of that kind")
        return self._listed(rows, cosines)

    def retrieve(self, sentence: str, count: int = 10) -> pl.DataFrame:
        """place, item_id, title, category, cosine, in_slate of what the sentence finds by text alone; in_slate: the
        item's place in the list that a guest who types it is given, null where it is not among its first 100."""
        vector = self.encode([sentence])[0]
        cosines = self.vectors("text") @ vector
        best = top_k(cosines, count)
        found = self._listed(best, cosines[best])
        slate = self.recommender.recommend([Query(text_vector=vector, text=sentence, count=100)])[0]
        places = {item.item_id: item.rank for item in slate.items}
        return found.with_columns(in_slate=pl.Series([places.get(one) for one in found["item_id"]], dtype=pl.Int64))

    def shoppers(self, count: int = 10) -> pl.DataFrame:
        """user_id, n_entries, newest of the shoppers with the longest histories, the longest first."""
        told = self.users.select(
            "user_id",
            n_entries=pl.col("history").list.len().cast(pl.Int64),
            newest=pl.col("history").list.last().struct.field("timestamp"),
        )
        return told.sort("n_entries", "user_id", descending=[True, False]).head(count).collect()

    def slate(
        self,
        user_id: str | None = None,
        *,
        text: str | None = None,
        items: Sequence[str] = (),
        session: Sequence[Act] = (),
        count: int = 10,
        rules: Rules = PLAIN,
    ) -> ExplainedSlate:
        """The list of a shopper, of a sentence, of a page's items, or after a session, and all that made it so."""
        if user_id is not None:
            self.check_user(user_id)
        for item_id in items:
            self.row_of(item_id)
        moment = self.manifest.as_of
        query = Query(
            user_id=user_id,
            session=tuple(self._signal(act, moment) for act in session),
            item_ids=tuple(items),
            text=text,
            text_vector=None if text is None else self.encode([text])[0],
            count=count,
            asked_at=moment,
            rules=rules,
            explain=True,
        )
        return ExplainedSlate(self.recommender, query, self.settings, self.encode)

    def reviews_behind(self, item_id: str) -> pl.DataFrame:
        """review_id, rating, sentiment, shift, sentences, text: which reviews moved this item; see
        `features.explore.reviews_behind`."""
        self.row_of(item_id)
        return reviews_behind(self._stored, self.settings.text, self.encoder, item_id)

    def health(self) -> pl.DataFrame:
        """One row a space, a column a figure of `recsys.embedding_health.Health`."""
        return pl.DataFrame([{"space": space, **vars(health(self.vectors(space)))} for space in SPACES])

    def agreement(self, k: int = 10) -> pl.DataFrame:
        """one, other, agreement: the share of an item's `k` neighbours that two spaces have in common."""
        pairs = list(combinations(SPACES, 2))
        found = [neighbour_agreement(self.vectors(one), self.vectors(other), k) for one, other in pairs]
        return pl.DataFrame(pairs, schema=["one", "other"], orient="row").with_columns(agreement=pl.Series(found))

    def atlas(
        self,
        space: Space = "text",
        colour: str = "category",
        queries: Sequence[str] = (),
        *,
        reviews: int = 0,
        searches: int = 0,
        cache: Path | None = None,
    ) -> Atlas:
        """The items on a map, with up to so many reviews and frequent searches where the space is "text", and these
        queries; see `features.explore.mapping.draw_atlas`."""
        return draw_atlas(self, space, colour, queries, reviews, searches, cache)

    def atlases(self, colour: str = "category", cache: Path | None = None) -> SideBySide:
        """The items in each space side by side, with how far neighbours agree."""
        agree = ", ".join(f"{one} and {other} {share:.0%}" for one, other, share in self.agreement().iter_rows())
        atlases = [self.atlas(space, colour, cache=cache) for space in SPACES]
        return side_by_side(atlases, f"Of an item's 10 nearest these are the same in both spaces: {agree}")

    def quality_by(self, group: str, users: pl.DataFrame | None = None) -> pl.DataFrame:
        """group, n_users, recall, ndcg, low, high: which group is served worst, worst first; see `judged`.

        group: a column of the items for what was chosen ("category", "brand", "price", "popularity"), "shopper" for
        new, light and heavy shoppers, or a column of `users` (user_id and any attributes).
        """
        return self.judged.by(group, users)

    @cached_property
    def judged(self) -> Judged:
        """The lists of this release against what shoppers chose after it. Raises DataError where nobody has yet."""
        lake = self.workspace.lake
        return judged(self.recommender, scan_table(lake, "events"), scan_table(lake, "reviews"), self.manifest.as_of)

    @cached_property
    def reach(self) -> ListExposure:
        """What the lists of this release show, and whose mix of categories they keep."""
        return reach(self.recommender, self.manifest.as_of)

    # ids

    def row_of(self, item_id: str) -> int:
        """Raises UnknownItemError with the nearest ids, and with ids whose titles have the words."""
        try:
            return self.recommender.row_of(item_id)
        except UnknownItemError as error:
            scores = self.recommender.properties.words.scores(item_id)
            named = [self.item_ids[row] for row in top_k(scores, 3) if scores[row] > 0]
            told = f"; titles with these words: {', '.join(named)}" if named else ""
            raise UnknownItemError(f"{error}{told}") from None

    def check_user(self, user_id: str) -> None:
        """Raises QueryError with the nearest ids for a shopper whom the release does not know."""
        known = self.recommender.users.rows
        if user_id not in known:
            nearest = ", ".join(nearest_ids(user_id, sorted(known)))
            raise QueryError(f"user {user_id!r} is not in this release; nearest ids: {nearest}")

    def find(self, words: str, count: int = 10) -> pl.DataFrame:
        """item_id, title, category of the items whose titles have these words, the best match first."""
        scores = self.recommender.properties.words.scores(words)
        best = [row for row in top_k(scores, count) if scores[row] > 0]
        return self._listed(best, scores[best]).drop("cosine")

    # showing

    def __repr__(self) -> str:
        return f"release {self.release_id} of {self.workspace.root}\n{as_text(self._shown())}"

    def _repr_html_(self) -> str:
        return as_html(self._shown(), f"Release {self.release_id}")

    def _shown(self) -> pl.DataFrame:
        told = self.manifest.metrics.get("fused", {}).get("all", {})
        rows = {"as of": f"{self.manifest.as_of:%Y-%m-%d %H:%M}", "encoder": self.manifest.encoder_id}
        rows |= {name: f"{n:,}" for name, n in self.manifest.rows.items()}
        rows |= {f"{name} at 10": f"{told[name]:.4f}" for name in ("recall", "ndcg", "coverage") if name in told}
        return pl.DataFrame({"of": list(rows), "is": list(rows.values())})

    # parts

    @cached_property
    def _query_encoder(self) -> Encoder:
        return load_query_encoder(self.loaded.encoder) if self.loaded.encoder.query_model else self.encoder

    def _signal(self, act: Act, at: datetime) -> Signal:
        if isinstance(act, Signal):
            return act
        kind, what = ("view", act) if isinstance(act, str) else act
        if kind not in EVENT_TYPES:
            raise QueryError(f"no event type {kind!r}; there are {', '.join(EVENT_TYPES)}")
        if kind == "search":
            return Signal("search", at, text_vector=self.encode([what])[0], text=what)
        self.row_of(what)
        return Signal(kind, at, item_id=what)

    def _listed(self, rows: Sequence[int] | np.ndarray, scores: np.ndarray) -> pl.DataFrame:
        properties = self.recommender.properties
        return pl.DataFrame(
            {
                "place": range(1, len(rows) + 1),
                "item_id": [self.item_ids[row] for row in rows],
                "title": [properties.titles[row] for row in rows],
                "category": [properties.category.name(row) for row in rows],
                "cosine": [float(score) for score in scores],
            },
            schema={
                "place": pl.Int64,
                "item_id": pl.String,
                "title": pl.String,
                "category": pl.String,
                "cosine": pl.Float64,
            },
        )

    def _table(self, name: str) -> pl.LazyFrame:
        stored = self._stored

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch: int | None
        ) -> Iterator[pl.DataFrame]:
            rows = stored.table(name, columns)
            rows = rows if n_rows is None else rows.head(n_rows)
            yield rows if predicate is None else rows.filter(predicate)

        return register_io_source(read, schema=stored.schema(name))
