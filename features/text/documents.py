"""The plain texts that the encoder reads, composed from catalogue, reviews and events."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import polars as pl

from features.text.cleaning import clean, plain_lines, text_hash
from features.text.sentences import choose_sentences, split_sentences
from recsys.config import TextSettings

NAMED_FIELDS: Final = ("title", "category", "brand", "attributes")
BROWSING_EVENTS: Final = ("search", "view", "click")
"""Events whose text the shopper searched for or read. The text of a rating or a return is an opinion, so it is left
out."""

BOILERPLATE_ITEMS: Final = 20
BOILERPLATE_SHARE: Final = 0.02
"""A sentence that is in at least this many descriptions and at least this share of all of them is boilerplate, such as
notes on delivery or invoices."""

_UNIT = re.compile(r"\s*\S{1,24}")


def spell_review(title: str | None, text: str | None, *, lines: bool = False) -> str:
    """A review as plain text, the title first; "" if it has neither title nor text.

    By default one line, as it is embedded: the title becomes a sentence of its own, with a full stop if it has none.
    lines: title and text stay on lines of their own, so that they can be split into sentences.
    """
    if lines:
        return plain_lines("\n".join(part for part in (title, text) if part))
    heading, body = clean(title or ""), clean(text or "")
    if not heading or not body:
        return heading or body
    return f"{heading} {body}" if heading[-1] in ".!?…。！？" else f"{heading}. {body}"


def review_texts(reviews: pl.DataFrame) -> pl.DataFrame:
    """review_id, text (see `spell_review`), text_hash of each review with a title or a text, in the order given."""
    texts = [spell_review(title, text) for title, text in reviews.select("title", "text").iter_rows()]
    return _with_hash(reviews.select("review_id").with_columns(text=pl.Series(texts, dtype=pl.String)))


def browsing_texts(events: pl.DataFrame | pl.LazyFrame, last: int | None = None) -> pl.DataFrame:
    """user_id, timestamp, event_type, text, text_hash of every search and viewed page with a text, by user and time.

    last: the number of newest texts that are returned for each user; None for all.
    """
    has_text = pl.col("text").is_not_null() & pl.col("event_type").cast(pl.String).is_in(BROWSING_EVENTS)
    rows = events.lazy().filter(has_text).select("user_id", "timestamp", "event_type", "text")
    rows = rows.sort("user_id", "timestamp", maintain_order=True)
    if last is not None:
        rows = rows.filter(pl.int_range(pl.len()).reverse().over("user_id") < last)
    browsing = rows.collect(engine="in-memory")
    cleaned = {text: clean(text) for text in browsing["text"].unique()}
    texts = pl.Series([cleaned[text] for text in browsing["text"]], dtype=pl.String)
    return _with_hash(browsing.with_columns(text=texts))


def item_texts(
    items: pl.DataFrame, reviews: pl.DataFrame, settings: TextSettings, count_tokens: Callable[[list[str]], list[int]]
) -> pl.DataFrame:
    """item_id, text, text_hash of each item, in the order given; text is "" for an item that nothing is known of.

    items: item_id and any of title, category, brand, attributes (JSON object), description. reviews: item_id,
    review_id, title, text, timestamp. A text has one part per line: the fields in this order, the description without
    boilerplate sentences, then the most informative sentences of the newest reviews. If a description or reviews
    follow, the fields before them get at most half of the token budget. If an item has both a description and reviews,
    reviews get at most `review_share` of what the fields leave.
    """
    per_item = max(8, settings.token_budget // 8)
    sentences = choose_sentences(newest_reviews(reviews, items["item_id"], settings.max_reviews_read), per_item)
    columns = [
        [clean(_spell_attributes(value)) if name == "attributes" else clean(value) for value in _column(items, name)]
        for name in NAMED_FIELDS
    ]
    columns.append(_descriptions(_column(items, "description")))
    longest = settings.token_budget * 25  # in characters; more units of text than the budget has tokens
    parts = [
        ([field[:longest] for field in fields], sentences.get(item_id, []))
        for item_id, *fields in zip(items["item_id"], *columns, strict=True)
    ]
    costs = _unit_costs((part for fields, quoted in parts for part in (*fields, *quoted)), count_tokens)
    texts = [_compose(fields, quoted, settings, costs) for fields, quoted in parts]
    composed = items.select("item_id").with_columns(text=pl.Series(texts, dtype=pl.String))
    return _with_hash(composed, drop_empty=False)


def _compose(fields: list[str], sentences: list[str], settings: TextSettings, costs: Mapping[str, int]) -> str:
    *named, description = fields
    budget = settings.token_budget
    left = budget // 2 if description or sentences else budget
    lines: list[str] = []
    for field in named:
        line, cost = _cut(field, left, costs)
        lines.append(line)
        left -= cost
    left += budget - budget // 2 if description or sentences else 0

    for_reviews = int(left * settings.review_share) if description else left
    chosen, reviews_cost = _whole_or_first_cut(sentences, for_reviews, costs)
    line, _ = _cut(description, left - reviews_cost, costs)
    return "\n".join(line for line in (*lines, line, *chosen) if line)


def _whole_or_first_cut(sentences: list[str], budget: int, costs: Mapping[str, int]) -> tuple[list[str], int]:
    """The sentences that fit whole, best first, and their cost in tokens; if none fits, the best one is cut."""
    chosen: list[str] = []
    left = budget
    for sentence in sentences:
        line, cost = _cut(sentence, left, costs)
        if line == sentence:
            chosen.append(line)
            left -= cost
    if sentences and not chosen:
        line, cost = _cut(sentences[0], budget, costs)
        chosen, left = [line], budget - cost
    return chosen, budget - left


def _cut(text: str, budget: int, costs: Mapping[str, int]) -> tuple[str, int]:
    """The longest beginning of `text` within `budget` tokens, cut between words, and its cost in tokens."""
    units: list[str] = []
    cost = 0
    for unit in _UNIT.findall(text):
        unit_cost = costs[unit.lstrip()]
        if cost + unit_cost > budget:
            break
        units.append(unit)
        cost += unit_cost
    return "".join(units), cost


def _unit_costs(texts: Iterable[str], count_tokens: Callable[[list[str]], list[int]]) -> dict[str, int]:
    """Number of tokens of every distinct word, so that a text's cost is a sum and the tokenizer runs only once.

    The sum is exact for tokenizers that split at spaces first (such as BERT's) and an estimate for others. A word of
    more than 24 characters, such as a sentence in a script without spaces, is counted in pieces.
    """
    units = sorted({unit.lstrip() for text in texts for unit in _UNIT.findall(text)})
    return dict(zip(units, count_tokens(units), strict=True)) if units else {}


def newest_reviews(reviews: pl.DataFrame, item_ids: pl.Series, count: int) -> pl.DataFrame:
    """The newest `count` reviews of each of these items, newest first, without empty ones; text: title and text as
    lines, see `spell_review`.

    reviews: review_id, item_id, text, timestamp, and any other columns, which are kept; the title is optional.
    """
    parts = [name for name in ("title", "text") if name in reviews.columns]
    has_text = pl.any_horizontal(pl.col(parts).str.strip_chars().str.len_chars() > 0)
    newest = (
        reviews.filter(pl.col("item_id").is_in(item_ids.implode()) & has_text)
        .sort("item_id", "timestamp", "review_id", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("item_id") < count)
    )
    titles = newest["title"] if "title" in newest.columns else [None] * newest.height
    texts = [spell_review(title, text, lines=True) for title, text in zip(titles, newest["text"], strict=True)]
    return newest.with_columns(text=pl.Series(texts, dtype=pl.String))


def _column(items: pl.DataFrame, name: str) -> list[str]:
    return items[name].cast(pl.String).fill_null("").to_list() if name in items.columns else [""] * items.height


def _descriptions(raw: list[str]) -> list[str]:
    """The descriptions as one line each, without boilerplate: sentences that a good share of all items repeat."""
    split = [split_sentences(plain_lines(description)) for description in raw]
    n_items_with = Counter(sentence for sentences in split for sentence in set(sentences))
    enough = max(BOILERPLATE_ITEMS, BOILERPLATE_SHARE * len(raw))
    return [
        " ".join(sentence for sentence in sentences if n_items_with[sentence] < enough).strip() for sentences in split
    ]


def _spell_attributes(value: str) -> str:
    """{"color": "red", "sizes": [40, 41]} as "color: red; sizes: 40, 41"; anything but a JSON object is unchanged."""
    try:
        attributes = json.loads(value)
    except ValueError:
        return value
    if not isinstance(attributes, dict):
        return value
    spelled = {key: _spell(inner) for key, inner in attributes.items()}
    return "; ".join(f"{key}: {text}" if text else key for key, text in spelled.items() if text is not None)


def _spell(value: Any) -> str | None:
    """A JSON value as text: None for null and false, "" for true, whose key is enough."""
    match value:
        case None | False:
            return None
        case True:
            return ""
        case list():
            return ", ".join(filter(None, map(_spell, value)))
        case dict():
            return ", ".join(
                f"{key} {text}".strip() for key, inner in value.items() if (text := _spell(inner)) is not None
            )
        case _:
            return str(value)


def _with_hash(frame: pl.DataFrame, drop_empty: bool = True) -> pl.DataFrame:
    rows = frame.filter(pl.col("text") != "") if drop_empty else frame
    return rows.with_columns(text_hash=pl.Series([text_hash(text) for text in rows["text"]], dtype=pl.String))
