"""Keeps addresses of persons out of the lake, the quarantine and error lines.

Columns that hold names, addresses and telephone numbers are removed from stored bad rows; e-mail addresses, telephone
numbers and IP addresses inside other texts are masked.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Any, Final

import polars as pl

from features.workspace.user_ids import EMAIL_PATTERN
from jobs.ingest.readers.raw import BrokenRow
from jobs.lake.lake import Lake
from recsys.errors import DataError

_PERSONAL_PARTS: Final = (
    *("email", "mail", "phone", "mobile", "fax", "address", "street", "city", "town", "zip", "postcode", "postal"),
    *("firstname", "lastname", "fullname", "surname", "billing", "shippingname", "shippingcompany", "customername"),
    *("reviewername", "displayname", "nickname", "author", "buyername", "recipient", "latitude", "longitude", "birth"),
    *("shippingprovince", "shippingcountry", "useragent", "contactname", "ordernote", "customernote"),
    *("adresse", "strasse", "telefon", "vorname", "nachname", "wohnort", "prenom", "apellido", "direccion"),
)
_PERSONAL_NAMES: Final = frozenset(
    {"ip", "ipaddress", "clientip", "browserip", "location", "reviewer", "company", "notes", "note"}
    | {"lat", "lng", "lon", "tel", "handy", "plz", "ort", "nom", "ville", "cognome", "indirizzo", "ciudad"}
)
_NOT_LETTERS: Final = re.compile(r"[^a-z0-9]+")

_IN_ADDRESS: Final = r"[^\s@%<>\"',;:()\[\]{}|=&?/\\]"
_EMAIL: Final = re.compile(rf"(?<!{_IN_ADDRESS}){_IN_ADDRESS}+(?:@|%40){_IN_ADDRESS}+\.[^\W\d_]{{2,}}", re.IGNORECASE)
_IP: Final = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
_MAYBE_IP6: Final = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w:])")
_PHONE: Final = re.compile(
    r"(?<![\w+./-])(?!\d{1,2}([./-])\d{1,2}\1\d{2,4}\b)"  # a date is no number
    r"(?:(?:\+\d{1,3}[ ./()-]{0,2}|\(?0\d{1,4}\)?[ ./-]{1,3})(?:\d[ ./()-]{0,2}){6,11}\d"
    r"|(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4})(?![\w/-])"
)
_SUSPECT: Final = (
    r"@|%40|\+\d|\d\.\d+\.\d|\(?\b0\d{1,4}\)?[ ./-]|\d{3}\)? ?[ .-]?\d{3}[ .-]\d{4}|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:|::"
)
"""What a text has at least, if it holds any of them; most texts have none and cost one search."""
_KEY: Final = re.compile(r"""["']([^"'\n]{1,60})["']\s*:""")


def is_personal(column: str) -> bool:
    """Whether a column, by its name, holds who or where somebody is."""
    letters = unicodedata.normalize("NFKD", column.casefold())  # é is e and an accent
    name = _NOT_LETTERS.sub("", letters).replace("capacity", "")
    return name in _PERSONAL_NAMES or any(part in name for part in _PERSONAL_PARTS)


def mask(text: str) -> str:
    """The text with `[email]`, `[ip]` and `[phone]` in place of addresses and numbers."""
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("[email]", text)
    text = _MAYBE_IP6.sub(_masked_ip6, _IP.sub("[ip]", text))
    return _PHONE.sub("[phone]", text)


def _masked_ip6(match: re.Match[str]) -> str:
    """`[ip]` for an IPv6 address; times and proportions as they are."""
    try:
        address = IPv6Address(match[0])
    except AddressValueError:
        return match[0]
    has_digit = any(letter.isdigit() for letter in match[0])  # `a::b` is code
    return "[ip]" if has_digit and not address.is_unspecified else match[0]


def mask_broken(row: BrokenRow) -> str:
    """What may be stored of a row that cannot be read: where its file has columns of persons, only its length, since
    nobody can tell its values apart."""
    names = (*row.columns, *_KEY.findall(row.text))
    personal = [name for name in names if is_personal(name)]
    if not personal:
        return mask(row.text)
    return f"{len(row.text):,} characters, not stored: the file has columns of persons, e.g. {mask(personal[0])!r}"


def mask_texts(texts: pl.Series) -> pl.Series:
    """`mask` of each text."""
    suspect = texts.str.contains(_SUSPECT).fill_null(value=False)
    if not suspect.any():
        return texts
    masked = pl.Series([mask(text) for text in texts.filter(suspect)], dtype=pl.String)
    return texts.scatter(suspect.arg_true(), masked)


def mask_row(row: Mapping[str, Any]) -> str:
    """A row as a JSON object without the values of personal columns, and with the other values masked."""
    known = {name: "[removed]" if value is not None and is_personal(name) else value for name, value in row.items()}
    return mask(json.dumps(_without_persons(known), ensure_ascii=False, default=str))


def _without_persons(value: Any) -> Any:
    """The same for objects inside values, also where they are written as JSON text."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return json.dumps(_without_persons(parsed), ensure_ascii=False)
    if isinstance(value, dict):
        return {
            name: "[removed]" if part not in (None, "") and is_personal(str(name)) else _without_persons(part)
            for name, part in value.items()
        }
    return [_without_persons(part) for part in value] if isinstance(value, list) else value


def refuse_addresses(lake: Lake) -> None:
    """Raise DataError where the lake has e-mail addresses as user ids, so that no shopper is split into two."""
    for table in ("events", "reviews"):
        plain = lake.scan(table).filter(pl.col("user_id").str.contains(EMAIL_PATTERN)).select("user_id").unique()
        n_plain = plain.select(pl.len()).collect().item()
        if n_plain:
            raise DataError(
                f"{n_plain:,} user ids in the lake's {table} are e-mail addresses, from before they were hashed; go on "
                "with --keep-user-ids, or ingest all files into a new workspace; nothing was ingested"
            )
