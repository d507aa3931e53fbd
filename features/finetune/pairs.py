"""Pairs of texts that belong together, as the shop's behaviour and words say: what the encoder is tuned on."""

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
from recsys.tokens import words

log = logging.getLogger(__name__)

KINDS: Final = ("adjacent", "query", "review", "description", "title")

DEALT_WITH: Final = ("view", "click", "cart", "purchase", "rating")
"""Events that say what a shopper was after; a rating only from `LIKED_STARS` on."""

LIKED_STARS: Final = 4.0

COMMON_SHARE: Final = 0.03
WORDS_DRAWN: Final = (0.5, 0.35, 0.15)
"""Which words of a title make a search, see `title_pairs`: how often one, two or three do."""


class Pairs(dy.Schema):
    """A text, one that belongs to it, and, where there is one, a text that only seems to.

    kind: `adjacent`, items that a shopper dealt with one soon after the other, the earlier one first; `query`, a
    search and an item that followed; `review`, a review and its product in the catalogue's words; `description`, a
    title and its description; `title`, words of a title, as a search that nobody may have made yet, and an item whose
    title has them. The items are those that the texts are of; a query, a review and words are of none.
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
    """At most `settings.max_pairs` pairs from what happened and was written before `as_of`, by kind and anchor.

    events: the columns of `recsys.tables.Events` but for those of recommendations; items: item_id, text (as
    `features.text.documents.item_texts` gives it, from reviews before `as_of`), title, description; reviews: those of
    `recsys.tables.Reviews`; vectors: (n_items, dim) float32, the current encoder's of the items' texts, norm 1 or
    zero, or None for no hard negatives.

    Where a kind has more pairs than its share, they are drawn in proportion to weight / (f_anchor * f_positive) ^
    (debias_power / 2), f being the weight of all pairs of that text or item: at power 1 the cosine of co-occurrence,
    at 0 the mere count. A draw may then take a rare pair twice. Equal input and seed give equal pairs.

    Raises DataError where there is not one pair.
    """
    known = items.select("item_id", text=_cleaned(items, "text"), title=_cleaned(items, "title")).with_columns(
        description=_cleaned(items, "description")
    )
    past = events.lazy().filter(pl.col("timestamp") < as_of)
    history = shopper_histories(past, known["item_id"], settings.max_history)
    rng = np.random.default_rng(seed)
    found = {
        "adjacent": adjacent_pairs(history, known, settings),
        "query": query_pairs(past, known, settings.query_minutes),
        "review": review_pairs(reviews.filter(pl.col("timestamp") < as_of), known),
        "description": description_pairs(known),
    }
    if settings.title:
        found["title"] = title_pairs(known, np.random.default_rng([seed, 1]))
    if not any(pairs.height for pairs in found.values()):
        raise DataError(
            f"no pairs to tune on before {as_of:%Y-%m-%d}: {known.height} items, none with a title and a description, "
            "none that follow a search or each other in a history, none with a review; ingest events, reviews or "
            "descriptions, or leave contrastive out of finetune.stages"
        )
    drawn = _drawn(found, settings, rng)
    negatives = hard_negatives(drawn, pl.concat(found.values()), known, history, vectors, settings, rng)
    result = _with_negative_texts(drawn, negatives, known)
    log.info(
        "finetune pairs=%d with_negative=%d kinds=%s",
        result.height,
        result.height - result["negative"].null_count(),
        dict(result.group_by("kind").len().sort("kind").iter_rows()),
    )
    return Pairs.validate(result.select(Pairs.column_names()), cast=True)


def shopper_histories(events: pl.LazyFrame, item_ids: pl.Series, max_history: int) -> pl.DataFrame:
    """user_id, item_id, timestamp of what each shopper dealt with, oldest first, without immediate repeats.

    Only items in `item_ids`, and of each shopper the newest `max_history` entries.
    """
    kind = pl.col("event_type").cast(pl.String)
    liked = (kind != "rating") | pl.col("value").is_null() | (pl.col("value") >= LIKED_STARS)
    entries = (
        events.filter(kind.is_in(DEALT_WITH) & liked & pl.col("item_id").is_in(item_ids.implode()))
        .select("user_id", "item_id", "timestamp")
        .sort("user_id", "timestamp", "item_id")
        .filter(pl.col("item_id").ne_missing(pl.col("item_id").shift().over("user_id")))
        .filter(pl.int_range(pl.len()).reverse().over("user_id") < max_history)
    )
    return entries.collect(engine="in-memory")


def read_histories(
    events: pl.DataFrame | pl.LazyFrame, items: pl.DataFrame, as_of: datetime, settings: config.PairsSettings
) -> pl.DataFrame:
    """user_id and text of what each shopper dealt with before `as_of`, oldest first, as in `shopper_histories`.

    events and items: as `training_pairs` takes them; items without a text are left out.
    """
    texts = items.select("item_id", text=_cleaned(items, "text")).filter(pl.col("text") != "")
    past = events.lazy().filter(pl.col("timestamp") < as_of)
    history = shopper_histories(past, texts["item_id"], settings.max_history)
    return history.join(texts, on="item_id", how="left", maintain_order="left").select("user_id", "text")


def adjacent_pairs(history: pl.DataFrame, items: pl.DataFrame, settings: config.PairsSettings) -> pl.DataFrame:
    """Weighed pairs of two items at most `max_steps_apart` steps apart in a history.

    A step costs the factor `step_decay`; the weights of a pair's occurrences add up.
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
    """Weighed pairs of a search and an item viewed, clicked, put into the cart or bought after it.

    An event belongs to its shopper's last search before it, if both are of one session; where one of the sessions is
    not known, if at most `minutes` lie between. A search that names an item belongs to it. Weights count occurrences.
    """
    kind = pl.col("event_type").cast(pl.String)
    columns = ("user_id", "timestamp", "session_id", "item_id")
    searches = events.filter((kind == "search") & pl.col("text").is_not_null()).select(*columns, "text").collect()
    acts = events.filter(kind.is_in(["view", "click", "cart", "purchase"]) & pl.col("item_id").is_not_null())
    asked = searches.select("user_id", "text", since="timestamp", in_session="session_id").sort("since")
    followed = (
        acts.select(columns)
        .collect()
        .sort("timestamp", "item_id")
        .join_asof(asked, left_on="timestamp", right_on="since", by="user_id", check_sortedness=False)
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

    Not the item's whole text: that holds sentences of reviews, and to find the same sentence again teaches nothing.
    """
    words = items.select("item_id", positive=_catalogue_words())
    said = review_texts(reviews).rename({"text": "anchor"})
    of_items = reviews.select("review_id", "item_id").unique("review_id", keep="first")
    return _kind("review", said.join(of_items, on="review_id").join(words, on="item_id"))


def description_pairs(items: pl.DataFrame) -> pl.DataFrame:
    """Pairs of a title and its description, where an item has both."""
    return _kind("description", items.select("item_id", anchor="title", positive="description"))


def title_pairs(items: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Weighed pairs of one to three words of a title, drawn once for each item, and each item whose title has them all.

    Words of one letter, and those that more than `COMMON_SHARE` of the titles have, tell too little. The items of one
    search share its weight.
    """
    titled = items.filter(pl.col("title") != "")
    said = {
        item_id: list(dict.fromkeys(word for word in words(title) if len(word) > 1))
        for item_id, title in titled.select("item_id", "title").iter_rows()
    }
    having: dict[str, set[str]] = {}
    for item_id, own in said.items():
        for word in own:
            having.setdefault(word, set()).add(item_id)
    common = max(1, int(COMMON_SHARE * titled.height))
    searches: dict[str, set[str]] = {}
    for own in said.values():
        telling = [word for word in own if len(having[word]) <= common]
        n_drawn = min(len(telling), int(rng.choice(3, p=WORDS_DRAWN)) + 1)
        if n_drawn:
            drawn = [telling[place] for place in sorted(rng.choice(len(telling), n_drawn, replace=False))]
            searches[" ".join(drawn)] = set.intersection(*(having[word] for word in drawn))
    paired = pl.DataFrame(
        [(search, item_id, 1.0 / len(item_ids)) for search, item_ids in searches.items() for item_id in item_ids],
        schema={"anchor": pl.String, "item_id": pl.String, "weight": pl.Float64},
        orient="row",
    )
    return _kind("title", paired.join(titled.select("item_id", positive="text"), on="item_id"))


def _catalogue_words() -> pl.Expr:
    return pl.concat_str("title", "description", separator=" ").str.strip_chars()


def _kind(kind: str, pairs: pl.DataFrame) -> pl.DataFrame:
    """kind, anchor, positive, anchor_item, positive_item, weight of the pairs of two texts that are not the same."""
    if "positive_item" not in pairs.columns:
        pairs = pairs.rename({"item_id": "positive_item"})
    if "anchor_item" not in pairs.columns:
        item = pl.col("positive_item") if kind == "description" else pl.lit(None, dtype=pl.String)
        pairs = pairs.with_columns(anchor_item=item)
    if "weight" not in pairs.columns:
        pairs = pairs.with_columns(weight=pl.lit(1.0))
    told = pl.col("anchor").ne("") & pl.col("positive").ne("") & (pl.col("anchor") != pl.col("positive"))
    return (
        pairs.filter(told)
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


def _drawn(found: dict[str, pl.DataFrame], settings: config.PairsSettings, rng: np.random.Generator) -> pl.DataFrame:
    shares = {kind: getattr(settings, kind) for kind, pairs in found.items() if pairs.height}
    total = sum(shares.values())
    parts = []
    for kind, share in shares.items():
        pairs = found[kind]
        count = min(pairs.height, round(settings.max_pairs * share / total)) if total else 0
        parts.append(pairs[systematic_sample(_debiased(pairs, settings.debias_power), count, rng)])
    drawn = pl.concat(parts)
    if drawn.is_empty():
        raise DataError(
            f"no pairs to tune on: the shares of {', '.join(shares)} in finetune.pairs leave none of "
            f"{settings.max_pairs}; raise one of them"
        )
    return drawn


def _debiased(pairs: pl.DataFrame, power: float) -> np.ndarray:
    """(n_pairs,) weights by which pairs are drawn."""
    total = pl.col("weight").sum()
    popularity = total.over("anchor") * total.over("positive_item")
    return pairs.select(pl.col("weight") / popularity ** (power / 2))["weight"].to_numpy()


def systematic_sample(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) ascending rows, each about count * weight / sum of weights times: the number below it or above it.

    (Madow 1949, "On the theory of systematic sampling, II".) weights: (n,) positive; no rows where it is empty.
    """
    if len(weights) == 0 or count == 0:
        return np.empty(0, dtype=np.int64)
    edges = np.cumsum(weights)
    points = (np.arange(count) + rng.random()) * (edges[-1] / count)
    return np.minimum(np.searchsorted(edges, points, side="right"), len(weights) - 1)


def _with_negative_texts(pairs: pl.DataFrame, negatives: pl.Series, items: pl.DataFrame) -> pl.DataFrame:
    """The negative's text is of the same sort as the positive's; where it has none, there is no negative."""
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
    """A column of texts as one line each, "" for null and where the frame has no such column."""
    if column not in frame.columns:
        return pl.Series(column, [""] * frame.height, dtype=pl.String)
    texts = frame[column].cast(pl.String).fill_null("")
    plain = {text: clean(text) for text in texts.unique()}
    return pl.Series(column, [plain[text] for text in texts], dtype=pl.String)
