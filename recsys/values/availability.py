"""Whether a product can be bought, by the words of Google, schema.org, Shopify, WooCommerce, by flags or stock."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

YES_WORDS: Final = frozenset(("true", "t", "yes", "y", "on", "x", "ja", "oui", "sí", "si", "wahr", "vrai", "verdadero"))
NO_WORDS: Final = frozenset(("false", "f", "no", "n", "off", "nein", "non", "nee", "falsch", "faux", "falso"))

AVAILABLE_WORDS: Final = frozenset(
    (
        *("instock", "instore", "instockonline", "limitedavailability", "limited", "limitedstock", "lowstock"),
        *("preorder", "presale", "backorder", "onbackorder", "backordered", "availableforpreorder", "madetoorder"),
        *("onlineonly", "instoreonly", "active", "available", "availablefororder", "enabled", "enable", "live"),
        *("published", "publish", "public", "visible", "listed", "onsale", "forsale"),
    )
)
UNAVAILABLE_WORDS: Final = frozenset(
    (
        *("outofstock", "oos", "nostock", "notinstock", "soldout", "sold", "discontinued", "unavailable", "reserved"),
        *("notavailable", "draft", "archived", "disabled", "disable", "hidden", "inactive", "unpublished", "unlisted"),
        *("private", "pending", "trash", "deleted", "removed", "suspended", "staging", "notvisible", "invisible"),
    )
)
"""Words without spaces, hyphens and underscores."""

NEGATED_COLUMNS: Final = frozenset(
    (
        *("hidden", "disabled", "archived", "outofstock", "soldout", "deleted", "discontinued", "unavailable"),
        *("inactive", "draft", "unpublished", "unlisted", "removed", "notavailable", "invisible", "suspended"),
    )
)

_WORD: Final = pl.col("word")


def parse_flags(series: pl.Series, *, negated: bool = False) -> pl.Series:
    """True where available, false where not, null where the value says neither. Of numbers, those above 0 are true.

    negated: the column tells the opposite (`IsHidden`), so its flags and numbers are turned; words that name a state,
    such as `archived`, keep their meaning.
    """
    if series.dtype == pl.Boolean:
        return ~series if negated else series
    text = series.cast(pl.String, strict=False).str.strip_chars().str.to_lowercase()
    number = text.cast(pl.Float64, strict=False)
    word = text.str.replace(r"^https?://(?:www\.)?schema\.org/", "").str.replace_all(r"[\s_-]+", "")
    n_left = word.str.extract(r"^(?:only)?([0-9]+)(?:instock|available|left)$").cast(pl.Float64, strict=False)
    frame = pl.DataFrame({"word": word, "number": pl.select(pl.coalesce(number, n_left)).to_series()})
    flag = (
        pl.when(pl.col("number").is_not_null())
        .then(pl.col("number") > 0)
        .when(_WORD.is_in(list(YES_WORDS)))
        .then(pl.lit(value=True))
        .when(_WORD.is_in(list(NO_WORDS)))
        .then(pl.lit(value=False))
    )
    state = (
        pl.when(_WORD.is_in(list(AVAILABLE_WORDS)))
        .then(pl.lit(value=True))
        .when(_WORD.is_in(list(UNAVAILABLE_WORDS)))
        .then(pl.lit(value=False))
    )
    return frame.select(pl.coalesce(~flag if negated else flag, state).alias(series.name)).to_series()


def is_negated(column_name: str) -> bool:
    """Whether a column of flags tells by its name that the product is not available: `IsHidden`, `sold_out`."""
    return re.sub(r"[\W_]+", "", column_name.casefold()).removeprefix("is") in NEGATED_COLUMNS
