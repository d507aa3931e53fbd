"""Cleaning: raw text from shops and shoppers becomes plain text."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from typing import Final

# The rest of a tag. A quoted value may contain ">"; the second choice is for tags with a missing quote. Possessive
# quantifiers keep the search linear in the text's length.
_REST: Final = r"""(?:(?:\s(?:=\s*+(?:"[^"<]*+"|'[^'<]*+')|[^<>])*+)?/?>|\s[^<>]*+>)"""
_INLINE_TAG: Final = re.compile(rf"</?(?:a|abbr|b|em|font|i|mark|small|span|strong|sub|sup|u){_REST}", re.IGNORECASE)
_TAG: Final = re.compile(rf"</?[a-zA-Z][\w:-]*{_REST}|<![^<>]*>|<\?[a-zA-Z][^<>]*>")
_BLOCK_START: Final = re.compile(r"<(?:(script|style)\b[^>]{0,1000}>|!--)", re.IGNORECASE)
_BLOCK_END: Final = {
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
    "comment": re.compile("-->"),
}
_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, soft hyphens, zero-width and direction marks, lone surrogates. The joiners U+200C and U+200D are
kept, because Persian words and emoji contain them."""


def clean(text: str) -> str:
    """One line of plain text: no HTML tags or entities, no control characters, NFC, single spaces."""
    return " ".join(plain_lines(text).split())


def plain_lines(text: str) -> str:
    """Like `clean`, but line ends stay, and block tags, scripts, style sheets and comments become line ends."""
    # Two passes, because shops store escaped markup: "&lt;br&gt;" is a tag only after the first pass.
    for _ in range(2):
        if "<" in text:
            text = _TAG.sub("\n", _INLINE_TAG.sub("", _without_blocks(text)))
        if "&" in text:
            text = html.unescape(text)
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))


def text_hash(text: str) -> str:
    """The first 32 hex characters of the text's SHA-256. Vectors are stored by it, so equal texts are embedded once."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _without_blocks(text: str) -> str:
    """Scripts, style sheets and comments become line ends; one that is not closed stays. Linear in the text's length:
    shoppers' texts are cleaned on the service's event loop."""
    pieces: list[str] = []
    end = 0
    unclosed: set[str] = set()
    for start in _BLOCK_START.finditer(text):
        kind = (start[1] or "comment").lower()
        if start.start() < end or kind in unclosed:
            continue
        closing = _BLOCK_END[kind].search(text, start.end())
        if closing is None:
            unclosed.add(kind)
            continue
        pieces.append(text[end : start.start()])
        end = closing.end()
    return "\n".join([*pieces, text[end:]])
