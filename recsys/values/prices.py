"""Prices as shops write them, with currency, thousands separators and ranges: `R$ 1.299,90`, `From $12.00`, `299:-`.

Separators. Of two kinds the last is the decimal sign: `1.299,00` and `1,299.00`. A comma before three digits separates
thousands, before any other number of digits it is the decimal sign. A dot is the decimal sign, but for two cases:
several dots separate thousands, and so does a dot before exactly three digits where a currency stands beside the amount
(`1.299 kr`, `12.990 COP`, `USD 12.999`), as no shop asks tenths of a cent. The second case does not hold for currencies
of three decimals (`12.990 KWD`) nor after a zero (`$0.999`); a bare `12.990` is 12.99.
"""

from __future__ import annotations

from typing import Final

import polars as pl

_CODES_OF_ISO_4217: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD "
    "CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ "
    "GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP "
    "LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB "
    "PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL"
)
ISO_CODES: Final = frozenset(_CODES_OF_ISO_4217.split())

THREE_DECIMALS: Final = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")

_SIGNS: Final = {
    "AED": "dhs dh د.إ",
    "AUD": "a$ au$",
    "BDT": "৳",
    "BGN": "лв",
    "BRL": "r$",
    "CAD": "c$ ca$",
    "CHF": "sfr",
    "CNY": "元 cn¥ rmb",
    "CZK": "kč",
    "EUR": "€ euro",
    "GBP": "£",
    "GEL": "₾",
    "HKD": "hk$",
    "HUF": "ft",
    "IDR": "rp",
    "ILS": "₪",
    "INR": "₹",
    "JPY": "円 jp¥",
    "KRW": "₩ 원",
    "KZT": "₸",
    "MXN": "mx$",
    "MYR": "rm",
    "NGN": "₦",
    "NZD": "nz$",
    "PEN": "s/",
    "PHP": "₱",
    "PLN": "zł",
    "RON": "lei",
    "RUB": "₽ руб",
    "SAR": "ر.س",
    "SGD": "s$",
    "THB": "฿",
    "TRY": "₺ tl",
    "TWD": "nt$",
    "UAH": "₴ грн",
    "USD": "us$",
    "VND": "₫ đ",
    "ZAR": "r",
}
"""Signs and words of a single currency, case folded and without a dot at the end. `$`, `kr`, `¥` and `Rs` are missing,
as each is that of several countries."""

_CODES: Final = {code.casefold(): code for code in ISO_CODES} | {
    sign: code for code, signs in _SIGNS.items() for sign in signs.split()
}

_AMOUNT: Final = r"(?:[0-9]+(?:[.,'’][0-9]+|[ ][0-9]{3}\b)*|[.,][0-9]+)"
_WORDS: Final = (
    r"(?:(?:from|starting (?:at|from)|as low as|now|only|price|ab|nur|von|à partir de|dès|desde|a partire da|"
    r"a partir de|da|fra|från|fr|vanaf|od):?\s+)"
)
_CURRENCY: Final = r"(?:S/\.?|[^0-9\s,+:()/-]{0,5}\p{L}\.?|[^0-9\s,.+:()/-]{1,6})"  # a dot only after letters: `$.99`
_UNIT: Final = r"(?:\s?[+*]|\s?/\s?\p{L}+\.?|\s?\([^()]*\)|\s(?:incl|inkl|excl|exkl|zzgl)\b.*)"
_PATTERN: Final = (
    rf"(?i)^{_WORDS}?(?P<sign>[-−]?)\s?(?P<before>(?:{_CURRENCY})?)\s?(?P<inner_sign>[-−]?)(?P<amount>{_AMOUNT})"
    rf"(?:[,.:][-–—])?\s?(?P<after>(?:{_CURRENCY})?)(?:\s?(?:[-–—~]|to|bis|à)\s?(?:{_CURRENCY})?\s?{_AMOUNT}"
    rf"\s?(?P<end>(?:{_CURRENCY})?))?{_UNIT}?$"
)
_DECIMAL_COMMA: Final = r"[0-9],[0-9]{1,2}(?:[^0-9,.]*)$"
_DOTTED_THOUSANDS: Final = r"^[1-9][0-9]{0,2}(?:\.[0-9]{3})+$"


def parse_prices(series: pl.Series) -> pl.Series:
    """Finite amounts as floats, without their currency; of a range the lower end. Null where there is no amount.

    In a column in which a value has a decimal comma (`12,90`, `1.299,00`), a dot before three digits is a thousands
    dot.
    """
    if series.dtype.is_numeric():
        return _finite(series.cast(pl.Float64, strict=False))
    text = series.cast(pl.String, strict=False).str.strip_chars()
    amounts = text.cast(pl.Float64, strict=False)
    if text.str.contains(_DECIMAL_COMMA).any():
        in_thousands = text.str.contains(_DOTTED_THOUSANDS).fill_null(value=False)
        thousands = text.filter(in_thousands).str.replace_all(".", "", literal=True).cast(pl.Float64)
        amounts = amounts.scatter(in_thousands.arg_true(), thousands)
    rest = amounts.is_null() & (text != "").fill_null(value=False)
    if rest.any():
        amounts = amounts.scatter(rest.arg_true(), _amounts(_parts(text.filter(rest))))
    return _finite(amounts)


def currencies(series: pl.Series) -> pl.Series:
    """The ISO 4217 code of each price's currency; null where none is written, or a sign of several currencies."""
    if series.dtype != pl.String:
        return pl.repeat(None, n=len(series), dtype=pl.String, eager=True).alias(series.name)
    return _parts(series.str.strip_chars())["code"].alias(series.name)


def _finite(amounts: pl.Series) -> pl.Series:
    frame = amounts.to_frame("amount")
    return frame.select(pl.when(pl.col("amount").is_finite()).then("amount").alias(amounts.name)).to_series()


def _parts(text: pl.Series) -> pl.DataFrame:
    """sign, amount, token (whatever stands for a currency, case folded), code (ISO, null where not known)."""
    text = text.str.replace_all(r"[\u00a0\u2009\u202f]", " ")
    parts = text.str.extract_groups(_PATTERN).struct.unnest()
    tokens = [
        pl.col(name).str.to_lowercase().str.strip_chars(". ").fill_null("") for name in ("before", "after", "end")
    ]
    codes = [token.replace_strict(_CODES, default=None, return_dtype=pl.String) for token in tokens]
    return parts.select(
        (pl.col("sign") + pl.col("inner_sign")).alias("sign"),
        pl.col("amount").str.replace_all(r"[ '’]", "").alias("amount"),
        pl.concat_str(tokens).alias("token"),
        pl.coalesce(codes).alias("code"),
    )


def _amounts(parts: pl.DataFrame) -> pl.Series:
    amount = pl.col("amount")
    n_dots, n_commas = amount.str.count_matches(".", literal=True), amount.str.count_matches(",", literal=True)
    has_both = (n_dots > 0) & (n_commas > 0)
    comma_last = amount.str.contains(r",[^.]*$")
    in_thousands = amount.str.contains(r"^[1-9][0-9]{0,2}(?:[.,][0-9]{3})+$")
    has_currency = (pl.col("token") != "") & ~pl.col("code").is_in(list(THREE_DECIMALS)).fill_null(value=False)
    without_dots = amount.str.replace_all(".", "", literal=True)
    without_commas = amount.str.replace_all(",", "", literal=True)
    decimal_comma = without_dots.str.replace(",", ".", literal=True)
    read = (
        pl.when(has_both & comma_last)
        .then(decimal_comma)
        .when(has_both)
        .then(without_commas)
        .when(n_commas > 1)
        .then(without_commas)
        .when(n_commas == 1)
        .then(pl.when(in_thousands).then(without_commas).otherwise(decimal_comma))
        .when(n_dots > 1)
        .then(pl.when(in_thousands).then(without_dots))
        .when((n_dots == 1) & in_thousands & has_currency)
        .then(without_dots)
        .otherwise(amount)
    )
    minus = pl.when(pl.col("sign") == "").then(1.0).otherwise(-1.0)
    return parts.select(read.cast(pl.Float64, strict=False) * minus).to_series()
