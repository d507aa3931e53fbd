"""Training pairs for the encoder: texts that are related by shoppers' behaviour or by the shop's own texts."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

import dataframely as dy
import numpy as np
import polars as pl

from features.finetune.negatives import hard_negatives
from features.text.cleaning import clean
from features.text.documents import review_texts
from recsys import config
from recsys.errors import DataError
from recsys.tokens import terms

log = logging.getLogger(__name__)

KINDS: Final = ("adjacent", "query", "review", "description", "title")

INTEREST_EVENTS: Final = ("view", "click", "cart", "purchase", "rating")
"""Events that show a shopper's interest in an item; a rating does only from `LIKED_STARS` on."""

LIKED_STARS: Final = 4.0

COMMON_SHARE: Final = 0.03
"""Words in more than this share of the titles are not used as searches; see `title_pairs`."""

WORDS_DRAWN: Final = (0.5, 0.35, 0.15)
"""Probabilities that a search consists of one, two or three words of a title; see `title_pairs`."""


class Pairs(dy.Schema):
    """An anchor text, a related text (positive) and, optionally, a similar but unrelated text (negative).

    kind: `adjacent`, two items that a shopper interacted with shortly after each other, the earlier one first; `query`,
    a search and an item that followed; `review`, a review and the catalogue's text of its product; `description`, a
    title and its description; `title`, words of a title as a possible search, and an item whose title has them.
    anchor_item, positive_item, negative_item: the items that the texts describe; null for queries, reviews and words.
    """

    kind = dy.Enum(KINDS)
    anchor = dy.String(min_length=1)
    positive = dy.String(min_length=1)
    negative = dy.String(nullable=True, min_length=1)
    anchor_item = dy.String(nullable=True)
    positive_item = dy.String()
    negative_item = dy.String(nullable=True)


def training_pairs(
    events: pl.DataFrame | pl.LazyFrame,
    items: pl.DataFrame,
    reviews: pl.DataFrame,
    vectors: np.ndarray | None,
    as_of: datetime,
    settings: config.PairsSettings,
    seed: int,
) -> dy.DataFrame[Pairs]:
    """At most `settings.max_pairs` pairs from events and reviews before `as_of`, by kind and anchor.

    events: the columns of `recsys.tables.Events` except those of recommendations; items: item_id, text (as
    `features.text.documents.item_texts` returns it, from reviews before `as_of`), title, description; reviews: as
    `recsys.tables.Reviews`; vectors: (n_items, dim) float32, the current encoder's vectors of the items' texts, norm 1
    or zero; None for no hard negatives.

    If a kind has more pairs than its share, they are sampled in proportion to weight / (f_anchor * f_positive) ^
    (debias_power / 2), where f is the weight of all pairs of that text or item: with power 1 the cosine of
    co-occurrence, with 0 the count. A rare pair may then be drawn twice. Equal input and seed give equal pairs.

    Raises DataError if there is no pair.
    """
    known = items.select("item_id", **{name: _cleaned(items, name) for name in ("text", "title", "description")})
    past = events.lazy().filter(pl.col("timestamp") < as_of)
    history = shopper_histories(past, known["item_id"], settings.max_history)
    rng = np.random.default_rng(seed)
    past_reviews = reviews.filter(pl.col("timestamp") < as_of)
    by_kind = _pairs_by_kind(past, history, known, past_reviews, settings, seed)
    if not any(pairs.height for pairs in by_kind.values()):
        raise DataError(
            f"no pairs to tune on before {as_of:%Y-%m-%d}: {known.height} items, none with a title and a description, "
            "none that follow a search or each other in a history, none with a review; ingest events, reviews or "
            "descriptions, or leave contrastive out of finetune.stages"
        )
    sample = _sample(by_kind, settings, rng)
    negatives = hard_negatives(sample, pl.concat(by_kind.values()), known, history, vectors, settings, rng)
    result = _with_negative_texts(sample, negatives, known)
    log.info(
        "finetune pairs=%d with_negative=%d kinds=%s",
        result.height,
        result.height - result["negative"].null_count(),
        dict(result.group_by("kind").len().sort("kind").iter_rows()),
    )
    return Pairs.validate(result.select(Pairs.column_names()), cast=True)


def _pairs_by_kind(
    events: pl.LazyFrame,
    history: pl.DataFrame,
    items: pl.DataFrame,
    reviews: pl.DataFrame,
    settings: config.PairsSettings,
    seed: int,
) -> dict[str, pl.DataFrame]:
    by_kind = {
        "adjacent": adjacent_pairs(history, items, settings),
        "query": query_pairs(events, items, settings.query_minutes),
        "review": review_pairs(reviews, items),
        "description": description_pairs(items),
    }
    if settings.title:
        by_kind["title"] = title_pairs(items, np.random.default_rng([seed, 1]))
    return by_kind


def shopper_histories(events: pl.LazyFrame, item_ids: pl.Series, max_history: int) -> pl.DataFrame:
    """user_id, item_id, timestamp of the items that each shopper showed interest in, oldest first.

    Only items in `item_ids`, without immediate repeats, and the newest `max_history` entries of each shopper.
    """
    kind = pl.col("event_type").cast(pl.String)
    liked = (kind != "rating") | pl.col("value").is_null() | (pl.col("value") >= LIKED_STARS)
    entries = (
        events.filter(kind.is_in(INTEREST_EVENTS) & liked & pl.col("item_id").is_in(item_ids.implode()))
        .select("user_id", "item_id", "timestamp")
        .sort("user_id", "timestamp", "item_id")
        .filter(pl.col("item_id").ne_missing(pl.col("item_id").shift().over("user_id")))
        .filter(pl.int_range(pl.len()).reverse().over("user_id") < max_history)
    )
    return entries.collect(engine="in-memory")


def read_histories(
    events: pl.DataFrame | pl.LazyFrame, items: pl.DataFrame, as_of: datetime, settings: config.PairsSettings
) -> pl.DataFrame:
    """user_id, text of the items in each shopper's history before `as_of`, oldest first; see `shopper_histories`.

    events, items: as in `training_pairs`; items without a text are left out.
    """
    texts = items.select("item_id", text=_cleaned(items, "text")).filter(pl.col("text") != "")
    past = events.lazy().filter(pl.col("timestamp") < as_of)
    history = shopper_histories(past, texts["item_id"], settings.max_history)
    return history.join(texts, on="item_id", how="left", maintain_order="left").select("user_id", "text")


def adjacent_pairs(history: pl.DataFrame, items: pl.DataFrame, settings: config.PairsSettings) -> pl.DataFrame:
    """Weighted pairs of two items at most `max_steps_apart` steps apart in a history.

    The weight falls by the factor `step_decay` with every step; the weights of a pair's occurrences are added.
    """
    steps = [
        history.select(
            anchor_item="item_id",
            positive_item=pl.col("item_id").shift(-step).over("user_id"),
            weight=pl.lit(settings.step_decay ** (step - 1)),
        )
        for step in range(1, settings.max_steps_apart + 1)
    ]
    counted = (
        pl.concat(steps)
        .filter(pl.col("positive_item").is_not_null() & (pl.col("anchor_item") != pl.col("positive_item")))
        .group_by("anchor_item", "positive_item")
        .agg(pl.col("weight").sum())
    )
    texts = items.select("item_id", "text")
    paired = counted.join(texts.rename({"item_id": "anchor_item", "text": "anchor"}), on="anchor_item").join(
        texts.rename({"item_id": "positive_item", "text": "positive"}), on="positive_item"
    )
    return _kind("adjacent", paired)


def query_pairs(events: pl.LazyFrame, items: pl.DataFrame, minutes: float) -> pl.DataFrame:
    """Weighted pairs of a search and an item that was viewed, clicked, put into the cart or bought after it.

    An event belongs to the shopper's last search before it if both are in the same session or, if one of the sessions
    is unknown, at most `minutes` apart. A search event with an item is paired with that item. Weights are counts.
    """
    kind = pl.col("event_type").cast(pl.String)
    columns = ("user_id", "timestamp", "session_id", "item_id")
    searches = events.filter((kind == "search") & pl.col("text").is_not_null()).select(*columns, "text").collect()
    acts = events.filter(kind.is_in(["view", "click", "cart", "purchase"]) & pl.col("item_id").is_not_null())
    preceding = searches.select("user_id", "text", since="timestamp", in_session="session_id").sort("since")
    followed = (
        acts.select(columns)
        .collect()
        .sort("timestamp", "item_id")
        .join_asof(preceding, left_on="timestamp", right_on="since", by="user_id", check_sortedness=False)
        .filter(
            pl.col("since").is_not_null()
            & (pl.col("session_id") == pl.col("in_session")).fill_null(
                (pl.col("timestamp") - pl.col("since")).dt.total_seconds() <= 60.0 * minutes
            )
        )
    )
    named = searches.filter(pl.col("item_id").is_not_null())
    both = pl.concat([followed.select("text", "item_id"), named.select("text", "item_id")])
    counted = both.with_columns(anchor=_cleaned(both, "text")).group_by("anchor", "item_id").agg(weight=pl.len())
    return _kind("query", counted.join(items.select("item_id", positive="text"), on="item_id"))


def review_pairs(reviews: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Pairs of a review and its product's title and description.

    Not the item's whole text, because that contains review sentences, and matching equal sentences teaches nothing.
    """
    words = items.select("item_id", positive=_catalogue_words())
    texts = review_texts(reviews).rename({"text": "anchor"})
    of_items = reviews.select("review_id", "item_id").unique("review_id", keep="first")
    return _kind("review", texts.join(of_items, on="review_id").join(words, on="item_id"))


def description_pairs(items: pl.DataFrame) -> pl.DataFrame:
    """Pairs of an item's title and its description."""
    return _kind("description", items.select("item_id", anchor="title", positive="description"))


def title_pairs(items: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Weighted pairs of one to three words of a title, drawn once per item, and every item whose title has all of them.

    Words of one letter, and words in more than `COMMON_SHARE` of the titles, are not used. The weight of a search is
    divided equally among its items.
    """
    titled = items.filter(pl.col("title") != "")
    title_words = {
        item_id: list(dict.fromkeys(word for word in terms(title) if len(word) > 1))
        for item_id, title in titled.select("item_id", "title").iter_rows()
    }
    items_with: dict[str, set[str]] = {}
    for item_id, words_of_title in title_words.items():
        for word in words_of_title:
            items_with.setdefault(word, set()).add(item_id)
    common = max(1, int(COMMON_SHARE * titled.height))
    searches: dict[str, set[str]] = {}
    for words_of_title in title_words.values():
        rare = [word for word in words_of_title if len(items_with[word]) <= common]
        n_drawn = min(len(rare), int(rng.choice(3, p=WORDS_DRAWN)) + 1)
        if n_drawn:
            drawn = [rare[place] for place in sorted(rng.choice(len(rare), n_drawn, replace=False))]
            searches[" ".join(drawn)] = set.intersection(*(items_with[word] for word in drawn))
    paired = pl.DataFrame(
        [(search, item_id, 1.0 / len(item_ids)) for search, item_ids in searches.items() for item_id in item_ids],
        schema={"anchor": pl.String, "item_id": pl.String, "weight": pl.Float64},
        orient="row",
    )
    return _kind("title", paired.join(titled.select("item_id", positive="text"), on="item_id"))


def _catalogue_words() -> pl.Expr:
    return pl.concat_str("title", "description", separator=" ").str.strip_chars()


def _kind(kind: str, pairs: pl.DataFrame) -> pl.DataFrame:
    """kind, anchor, positive, anchor_item, positive_item, weight of the pairs of two different, non-empty texts."""
    if "positive_item" not in pairs.columns:
        pairs = pairs.rename({"item_id": "positive_item"})
    if "anchor_item" not in pairs.columns:
        item = pl.col("positive_item") if kind == "description" else pl.lit(None, dtype=pl.String)
        pairs = pairs.with_columns(anchor_item=item)
    if "weight" not in pairs.columns:
        pairs = pairs.with_columns(weight=pl.lit(1.0))
    is_valid = pl.col("anchor").ne("") & pl.col("positive").ne("") & (pl.col("anchor") != pl.col("positive"))
    return (
        pairs.filter(is_valid)
        .select(
            pl.lit(kind).alias("kind"),
            "anchor",
            "positive",
            "anchor_item",
            "positive_item",
            pl.col("weight").cast(float),
        )
        .sort("anchor", "positive", "anchor_item", "positive_item")
    )


def _sample(by_kind: dict[str, pl.DataFrame], settings: config.PairsSettings, rng: np.random.Generator) -> pl.DataFrame:
    shares = {kind: getattr(settings, kind) for kind, pairs in by_kind.items() if pairs.height}
    total = sum(shares.values())
    parts = []
    for kind, share in shares.items():
        pairs = by_kind[kind]
        count = min(pairs.height, round(settings.max_pairs * share / total)) if total else 0
        parts.append(pairs[systematic_sample(_debiased(pairs, settings.debias_power), count, rng)])
    sample = pl.concat(parts)
    if sample.is_empty():
        raise DataError(
            f"no pairs to tune on: with the shares of {', '.join(shares)} in finetune.pairs, none of at most "
            f"{settings.max_pairs} pairs is left; raise one of the shares"
        )
    return sample


def _debiased(pairs: pl.DataFrame, power: float) -> np.ndarray:
    """(n_pairs,) weights with which pairs are sampled."""
    total = pl.col("weight").sum()
    popularity = total.over("anchor") * total.over("positive_item")
    return pairs.select(pl.col("weight") / popularity ** (power / 2))["weight"].to_numpy()


def systematic_sample(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) ascending rows; each occurs count * weight / sum of weights times, rounded up or down.

    (Madow 1949, "On the theory of systematic sampling, II".) weights: (n,) positive; no rows if it is empty.
    """
    if len(weights) == 0 or count == 0:
        return np.empty(0, dtype=np.int64)
    edges = np.cumsum(weights)
    points = (np.arange(count) + rng.random()) * (edges[-1] / count)
    return np.minimum(np.searchsorted(edges, points, side="right"), len(weights) - 1)


def _with_negative_texts(pairs: pl.DataFrame, negatives: pl.Series, items: pl.DataFrame) -> pl.DataFrame:
    """The pairs with negative, a text of the same kind as the positive's; null if the item has no such text."""
    texts = items.select(negative_item="item_id", text="text", words=_catalogue_words(), description="description")
    of_sort = (
        pl.when(pl.col("kind") == "review")
        .then("words")
        .when(pl.col("kind") == "description")
        .then("description")
        .otherwise("text")
    )
    negative = pl.when(of_sort.ne("") & of_sort.ne(pl.col("positive"))).then(of_sort)
    joined = pairs.with_columns(negatives.alias("negative_item")).join(
        texts, on="negative_item", how="left", maintain_order="left"
    )
    return joined.with_columns(negative=negative).with_columns(
        negative_item=pl.when(pl.col("negative").is_not_null()).then("negative_item")
    )


def _cleaned(frame: pl.DataFrame, column: str) -> pl.Series:
    """A column of texts as one line each; "" for null, or if the frame has no such column."""
    if column not in frame.columns:
        return pl.Series(column, [""] * frame.height, dtype=pl.String)
    texts = frame[column].cast(pl.String).fill_null("")
    plain = {text: clean(text) for text in texts.unique()}
    return pl.Series(column, [plain[text] for text in texts], dtype=pl.String)
