"""Texts as shops store them become plain text."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata

_CODE = re.compile(r"<(script|style)\b[^>]{0,1000}>.{0,20000}?</\1\s*>", re.IGNORECASE | re.DOTALL)
_INLINE_TAG = re.compile(r"</?(?:a|abbr|b|em|font|i|mark|small|span|strong|sub|sup|u)(?:\s[^<>]*)?/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][\w:-]*(?:\s[^<>]*)?/?>|<![^<>]*>")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, soft hyphens, zero-width and direction marks, lone surrogates. The joiners U+200C and
U+200D stay: Persian and emoji are spelled with them."""


def clean(text: str) -> str:
    """One line of plain text: no HTML tags or entities, no control characters, NFC, single spaces."""
    return " ".join(plain_lines(text).split())


def plain_lines(text: str) -> str:
    """`clean`, but block tags and line ends stay as line ends."""
    # Twice, because shops store markup escaped: "&lt;br&gt;" is a tag only after the first round.
    for _ in range(2):
        text = _CODE.sub("\n", text)
        text = _TAG.sub("\n", _INLINE_TAG.sub("", text))
        text = html.unescape(text)
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))


def text_hash(text: str) -> str:
    """The first 32 hex characters of the text's SHA-256: equal texts, and only these, are embedded once."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
