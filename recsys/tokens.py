"""The words of a text, in any language."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]{1,2}|[^\W_][\w\u0900-\u0dff’']*")
"""Words; scripts written without spaces (Chinese, Japanese, Thai) give pairs of characters instead."""


def words(text: str) -> list[str]:
    """The text's words, case folded."""
    return WORD.findall(text.casefold())


@lru_cache(maxsize=4096)
def script(letter: str) -> str:
    """The writing system of a letter, as its Unicode name begins: LATIN, CYRILLIC, CJK; "UNNAMED" where it has none."""
    return unicodedata.name(letter, "UNNAMED").partition(" ")[0]
