"""The words of a text, in any language."""

from __future__ import annotations

import re

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]{1,2}|[^\W_][\w\u0900-\u0dff’']*")
"""Words; scripts written without spaces (Chinese, Japanese, Thai) give pairs of characters instead."""


def words(text: str) -> list[str]:
    """The text's words, case folded."""
    return WORD.findall(text.casefold())
