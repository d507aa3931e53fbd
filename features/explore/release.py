"""One release opened read-only: tables, vectors, neighbours, explained lists, the item map, and quality by group."""

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
from features.explore.atlas_data import draw_atlas
from features.explore.display import as_html, as_text
from features.explore.evaluation import Evaluation, evaluate
from features.explore.explained_slate import ExplainedSlate
from features.explore.reviews_behind import reviews_behind
from features.store.release import LoadedRelease, load_release, read_aliases
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
from recsys.release_files import ALIASES_FILE
from recsys.rules import PLAIN, Rules
from recsys.tables import EVENT_TYPES
from recsys.top_k import top_k
from recsys.workspace import Workspace

SessionEvent = Signal | str | tuple[str, str]
"""One event of a session: an item id for a view, an event type with an item id, or ("search", words)."""


class OpenedRelease:
    """Reads from disk on first use and caches what it has read. Errors about an unknown id name the nearest ids."""

    def __init__(self, workspace: Workspace, release_id: str) -> None:
        self.workspace = workspace
        self.release_id = release_id
        self._stored: Release = Store(workspace).open(release_id)
        self.manifest = self._stored.manifest

    # tables and vectors

    @property
    def items(self) -> pl.LazyFrame:
        """All items: the catalogue's columns, ratings, popularity, vectors; ascending by item_id."""
        return self._table("items")

    @property
    def users(self) -> pl.LazyFrame:
        """All shoppers: history, vectors; ascending by user_id."""
        return self._table("users")

    @property
    def reviews(self) -> pl.LazyFrame:
        """All reviews: stars, text, sentiment, vector."""
        return self._table("reviews")

    @property
    def events(self) -> pl.LazyFrame:
        """The lake's events before this release's `as_of`."""
        return self._of_lake("events").filter(pl.col("timestamp") < self.manifest.as_of)

    def _of_lake(self, table: str) -> pl.LazyFrame:
        """Events or reviews, each on the item that it means."""
        rows = scan_table(self.workspace.lake, table)
        if not self.manifest.has(ALIASES_FILE):
            return rows
        aliases = read_aliases(self._stored.model_dir)
        return rows.with_columns(pl.col("item_id").replace(list(aliases), list(aliases.values())))

    def vectors(self, space: Space) -> np.ndarray:
        """(n_items, dim) float32, in the order of `item_ids`; a zero row if an item has no vector in that space."""
        return space_vectors(self.recommender, space)

    @property
    def item_ids(self) -> list[str]:
        return self.recommender.item_ids

    @cached_property
    def loaded(self) -> LoadedRelease:
        """The release in memory, loaded as by the service."""
        return load_release(self.workspace, self.release_id)

    @property
    def recommender(self) -> Recommender:
        return self.loaded.recommender

    @property
    def settings(self) -> config.Settings:
        """The settings that the release was built with."""
        catalogue = self.loaded.catalogue
        return catalogue.settings if catalogue else config.Settings()

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that the texts were embedded with."""
        return load_encoder(self.loaded.encoder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) vectors of norm 1, encoded like the service's queries; comparable with the space "text"."""
        return self._query_encoder.encode(texts)

    # queries

    def neighbours(self, item_id: str, space: Space = "fused", count: int = 10) -> pl.DataFrame:
        """place, item_id, title, category, cosine: the items nearest to this one in that space.

        Raises UnknownItemError for an unknown id, DataError if the item has no vector in that space.
        """
        row = self.row_of(item_id)
        rows, cosines = nearest_items(self.vectors(space), row, count)
        if not len(rows) and not self.vectors(space)[row].any():
            raise DataError(f"item {item_id!r} has no vector in the space {space!r}: there is no such data about it")
        return self._listed(rows, cosines)

    def retrieve(self, sentence: str, count: int = 10) -> pl.DataFrame:
        """place, item_id, title, category, cosine, in_slate: the items whose text is nearest to the sentence.

        in_slate: the item's place in the list for a guest who searches for the sentence, null beyond the first 100.
        """
        vector = self.encode([sentence])[0]
        cosines = self.vectors("text") @ vector
        best = top_k(cosines, count)
        table = self._listed(best, cosines[best])
        slate = self.recommender.recommend([Query(text_vector=vector, text=sentence, count=100)])[0]
        places = {item.item_id: item.rank for item in slate.items}
        in_slate = [places.get(item_id) for item_id in table["item_id"]]
        return table.with_columns(in_slate=pl.Series(in_slate, dtype=pl.Int64))

    def shoppers(self, count: int = 10) -> pl.DataFrame:
        """user_id, n_entries, newest (time of the newest entry): the shoppers with the longest histories."""
        histories = self.users.select(
            "user_id",
            n_entries=pl.col("history").list.len().cast(pl.Int64),
            newest=pl.col("history").list.last().struct.field("timestamp"),
        )
        return histories.sort("n_entries", "user_id", descending=[True, False]).head(count).collect()

    def slate(
        self,
        user_id: str | None = None,
        *,
        text: str | None = None,
        items: Sequence[str] = (),
        session: Sequence[SessionEvent] = (),
        count: int = 10,
        rules: Rules = PLAIN,
    ) -> ExplainedSlate:
        """The explained list for any mix of a shopper, a search text, the items of a page and a session.

        Raises QueryError for an unknown shopper or event type, UnknownItemError for an unknown item.
        """
        if user_id is not None:
            self.check_user(user_id)
        for item_id in items:
            self.row_of(item_id)
        now = self.manifest.as_of
        query = Query(
            user_id=user_id,
            session=tuple(self._signal(event, now) for event in session),
            item_ids=tuple(items),
            text=text,
            text_vector=None if text is None else self.encode([text])[0],
            count=count,
            asked_at=now,
            rules=rules,
            explain=True,
        )
        return ExplainedSlate(self.recommender, query, self.settings, self.encode)

    def reviews_behind(self, item_id: str) -> pl.DataFrame:
        """review_id, rating, sentiment, shift, sentences, text: which reviews influence this item's text vector; see
        `features.explore.reviews_behind`."""
        self.row_of(item_id)
        return reviews_behind(self._stored, self.settings.text, self.encoder, item_id)

    def health(self) -> pl.DataFrame:
        """One row per space, one column per figure of `recsys.embedding_health.Health`."""
        return pl.DataFrame([{"space": space, **vars(health(self.vectors(space)))} for space in SPACES])

    def agreement(self, k: int = 10) -> pl.DataFrame:
        """space, other_space, agreement: the mean share of an item's `k` neighbours that two spaces have in common."""
        pairs = list(combinations(SPACES, 2))
        shares = [neighbour_agreement(self.vectors(space), self.vectors(other), k) for space, other in pairs]
        table = pl.DataFrame(pairs, schema=["space", "other_space"], orient="row")
        return table.with_columns(agreement=pl.Series(shares))

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
        """The items on a map; in the space "text" with these queries, and up to so many reviews and frequent searches;
        see `features.explore.atlas_data.draw_atlas`."""
        return draw_atlas(self, space, colour, queries, reviews, searches, cache)

    def atlases(self, colour: str = "category", cache: Path | None = None) -> SideBySide:
        """The maps of all spaces side by side, with the share of neighbours that each two have in common."""
        agree = ", ".join(f"{space} and {other} {share:.0%}" for space, other, share in self.agreement().iter_rows())
        atlases = [self.atlas(space, colour, cache=cache) for space in SPACES]
        return side_by_side(atlases, f"Share of the 10 nearest neighbours that two spaces have in common: {agree}")

    def quality_by(self, group: str, users: pl.DataFrame | None = None) -> pl.DataFrame:
        """group, n_users, recall, ndcg, low, high: quality by group, worst first; see `evaluation`.

        group: a property of the chosen item ("category", "brand", "price", "popularity"), "shopper" for new, light and
        heavy shoppers, or a column of `users` (user_id and any attributes). Raises QueryError for any other group, and
        DataError as `evaluation` does.
        """
        return self.evaluation.by(group, users)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The lists of this release compared with what shoppers chose after it.

        Raises DataError if nobody has chosen anything after it.
        """
        return evaluate(self.recommender, self._of_lake("events"), self._of_lake("reviews"), self.manifest.as_of)

    @cached_property
    def reach(self) -> ListExposure:
        """Which items the lists of this release show, and how well they match each shopper's mix of categories."""
        return reach(self.recommender, self.manifest.as_of)

    # ids

    def row_of(self, item_id: str) -> int:
        """The item's row. Raises UnknownItemError with the nearest ids, and with ids of items whose titles match."""
        try:
            return self.recommender.row_of(item_id)
        except UnknownItemError as error:
            scores = self.recommender.properties.words.scores(item_id)
            named = [self.item_ids[row] for row in top_k(scores, 3) if scores[row] > 0]
            hint = f"; titles with these words: {', '.join(named)}" if named else ""
            raise UnknownItemError(f"{error}{hint}") from None

    def check_user(self, user_id: str) -> None:
        """Raises QueryError with the nearest ids if the release does not know the shopper."""
        known = self.recommender.users.rows
        if user_id not in known:
            nearest = ", ".join(nearest_ids(user_id, sorted(known)))
            raise QueryError(f"user {user_id!r} is not in this release; nearest ids: {nearest}")

    def find(self, words: str, count: int = 10) -> pl.DataFrame:
        """place, item_id, title, category: the items whose titles contain these words, best match first."""
        scores = self.recommender.properties.words.scores(words)
        best = [row for row in top_k(scores, count) if scores[row] > 0]
        return self._listed(best, scores[best]).drop("cosine")

    # display

    def __repr__(self) -> str:
        return f"release {self.release_id} of {self.workspace.root}\n{as_text(self._shown())}"

    def _repr_html_(self) -> str:
        return as_html(self._shown(), f"Release {self.release_id}")

    def _shown(self) -> pl.DataFrame:
        metrics = self.manifest.metrics.get("fused", {}).get("all", {})
        rows = {"as of": f"{self.manifest.as_of:%Y-%m-%d %H:%M}", "encoder": self.manifest.encoder_id}
        rows |= {name: f"{n:,}" for name, n in self.manifest.rows.items()}
        rows |= {f"{name} at 10": f"{metrics[name]:.4f}" for name in ("recall", "ndcg", "coverage") if name in metrics}
        return pl.DataFrame({"property": list(rows), "value": list(rows.values())})

    # helpers

    @cached_property
    def _query_encoder(self) -> Encoder:
        return load_query_encoder(self.loaded.encoder) if self.loaded.encoder.query_model else self.encoder

    def _signal(self, event: SessionEvent, at: datetime) -> Signal:
        if isinstance(event, Signal):
            return event
        kind, subject = ("view", event) if isinstance(event, str) else event
        if kind not in EVENT_TYPES:
            raise QueryError(f"no event type {kind!r}; use one of {', '.join(EVENT_TYPES)}")
        if kind == "search":
            return Signal("search", at, text_vector=self.encode([subject])[0], text=subject)
        self.row_of(subject)
        return Signal(kind, at, item_id=subject)

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
