"""From catalogue, reviews and events to the plain texts that the encoder reads."""

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
"""Events whose text the shopper looked for or read; a rating's or a return's text is an opinion."""

BOILERPLATE_ITEMS: Final = 20
BOILERPLATE_SHARE: Final = 0.02
"""A sentence in this many descriptions and this share of all is the shop's notice (delivery, invoices)."""

_UNIT = re.compile(r"\s*\S{1,24}")


def review_texts(reviews: pl.DataFrame) -> pl.DataFrame:
    """review_id, text (title, then text), text_hash of each review that says anything, in the order given."""
    texts = [_sentence_join(row) for row in reviews.select("title", "text").iter_rows()]
    return _with_hash(reviews.select("review_id").with_columns(text=pl.Series(texts, dtype=pl.String)))


def browsing_texts(events: pl.DataFrame | pl.LazyFrame, last: int | None = None) -> pl.DataFrame:
    """user_id, timestamp, event_type, text, text_hash of every search query and viewed page's text, by user and time.

    last: keep only each user's newest so many.
    """
    wanted = pl.col("text").is_not_null() & pl.col("event_type").cast(pl.String).is_in(BROWSING_EVENTS)
    found = events.lazy().filter(wanted).select("user_id", "timestamp", "event_type", "text")
    found = found.sort("user_id", "timestamp", maintain_order=True)
    if last is not None:
        found = found.filter(pl.int_range(pl.len()).reverse().over("user_id") < last)
    browsing = found.collect(engine="in-memory")
    cleaned = {text: clean(text) for text in browsing["text"].unique()}
    texts = pl.Series([cleaned[text] for text in browsing["text"]], dtype=pl.String)
    return _with_hash(browsing.with_columns(text=texts))


def item_texts(
    items: pl.DataFrame, reviews: pl.DataFrame, settings: TextSettings, count_tokens: Callable[[list[str]], list[int]]
) -> pl.DataFrame:
    """item_id, text, text_hash of each item, in the order given: what there is to read about it.

    items: item_id and any of title, category, brand, attributes (JSON object), description. reviews: item_id,
    review_id, title, text, timestamp. One part a line: the fields in this order, without the notices that the
    shop repeats in its descriptions, then the most informative sentences of the newest reviews. Where prose
    follows, the fields before the description get at most half of the budget; where an item has both a
    description and reviews, reviews get at most `review_share` of what the fields left. An item without any
    text has the text "".
    """
    per_item = max(8, settings.token_budget // 8)
    sentences = choose_sentences(newest_reviews(reviews, items["item_id"], settings.max_reviews_read), per_item)
    columns = [
        [clean(_spell_attributes(value)) if name == "attributes" else clean(value) for value in _column(items, name)]
        for name in NAMED_FIELDS
    ]
    columns.append(_descriptions(_column(items, "description")))
    longest = settings.token_budget * 25  # characters: more units of text than the budget has tokens
    parts = [
        ([field[:longest] for field in fields], sentences.get(item_id, []))
        for item_id, *fields in zip(items["item_id"], *columns, strict=True)
    ]
    costs = _unit_costs((part for fields, said in parts for part in (*fields, *said)), count_tokens)
    texts = [_compose(fields, said, settings, costs) for fields, said in parts]
    composed = items.select("item_id").with_columns(text=pl.Series(texts, dtype=pl.String))
    return _with_hash(composed, drop_empty=False)


def _compose(fields: list[str], said: list[str], settings: TextSettings, costs: Mapping[str, int]) -> str:
    *named, description = fields
    budget = settings.token_budget
    left = budget // 2 if description or said else budget
    lines: list[str] = []
    for field in named:
        line, cost = _cut(field, left, costs)
        lines.append(line)
        left -= cost
    left += budget - budget // 2 if description or said else 0

    for_reviews = int(left * settings.review_share) if description else left
    chosen, reviews_cost = _whole_or_first_cut(said, for_reviews, costs)
    line, _ = _cut(description, left - reviews_cost, costs)
    return "\n".join(line for line in (*lines, line, *chosen) if line)


def _whole_or_first_cut(sentences: list[str], budget: int, costs: Mapping[str, int]) -> tuple[list[str], int]:
    """The sentences that fit whole, best first; where none does, the best one cut. And their cost."""
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
    kept: list[str] = []
    cost = 0
    for unit in _UNIT.findall(text):
        unit_cost = costs[unit.lstrip()]
        if cost + unit_cost > budget:
            break
        kept.append(unit)
        cost += unit_cost
    return "".join(kept), cost


def _unit_costs(texts: Iterable[str], count_tokens: Callable[[list[str]], list[int]]) -> dict[str, int]:
    """Tokens of every distinct word, so that a text's cost is a sum and the tokenizer runs once.

    The sum is exact for tokenizers that split at spaces first (BERT's) and an estimate for the others. A word
    of more than 24 characters, such as a sentence of a script without spaces, is counted piece by piece.
    """
    units = sorted({unit.lstrip() for text in texts for unit in _UNIT.findall(text)})
    return dict(zip(units, count_tokens(units), strict=True)) if units else {}


def newest_reviews(reviews: pl.DataFrame, item_ids: pl.Series, count: int) -> pl.DataFrame:
    """The newest `count` reviews with words of each of these items, newest first; text: title and text as plain lines.

    reviews: review_id, item_id, text, timestamp, and any others, which stay; a title, where there is one, goes into the
    text.
    """
    parts = [name for name in ("title", "text") if name in reviews.columns]
    said = pl.any_horizontal(pl.col(parts).str.strip_chars().str.len_chars() > 0)
    newest = (
        reviews.filter(pl.col("item_id").is_in(item_ids.implode()) & said)
        .sort("item_id", "timestamp", "review_id", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("item_id") < count)
    )
    texts = [plain_lines("\n".join(part for part in row if part)) for row in newest.select(parts).iter_rows()]
    return newest.with_columns(text=pl.Series(texts, dtype=pl.String))


def _column(items: pl.DataFrame, name: str) -> list[str]:
    return items[name].cast(pl.String).fill_null("").to_list() if name in items.columns else [""] * items.height


def _descriptions(raw: list[str]) -> list[str]:
    """The descriptions as one line each, less the sentences that a good share of all items repeat."""
    split = [split_sentences(plain_lines(description)) for description in raw]
    n_items_with = Counter(sentence for sentences in split for sentence in set(sentences))
    enough = max(BOILERPLATE_ITEMS, BOILERPLATE_SHARE * len(raw))
    return [" ".join(said for said in sentences if n_items_with[said] < enough).strip() for sentences in split]


def _spell_attributes(value: str) -> str:
    """{"color": "red", "sizes": [40, 41]} as "color: red; sizes: 40, 41"; another value stays."""
    try:
        attributes = json.loads(value)
    except ValueError:
        return value
    if not isinstance(attributes, dict):
        return value
    spelled = {key: _spell(inner) for key, inner in attributes.items()}
    return "; ".join(f"{key}: {text}" if text else key for key, text in spelled.items() if text is not None)


def _spell(value: Any) -> str | None:
    """A JSON value in words: None for null and false, "" for true (the key says it all)."""
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


def _sentence_join(parts: Iterable[str | None]) -> str:
    """The cleaned parts that are not empty, as sentences: a stop is added where one has none."""
    joined = ""
    for part in parts:
        cleaned = clean(part or "")
        if joined and cleaned:
            joined += " " if joined[-1] in ".!?…。！？" else ". "
        joined += cleaned
    return joined


def _with_hash(frame: pl.DataFrame, drop_empty: bool = True) -> pl.DataFrame:
    kept = frame.filter(pl.col("text") != "") if drop_empty else frame
    return kept.with_columns(text_hash=pl.Series([text_hash(text) for text in kept["text"]], dtype=pl.String))
