"""Cleaning: tags, entities and invisible characters go, everything that a shopper would read stays."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.text import cleaning
from features.text.cleaning import clean, plain_lines, text_hash


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("plain", "plain"),
        ("  two \t\n words ", "two words"),
        ("<p>One</p><p>Two</p>", "One Two"),
        ("b<b>ol</b>d", "bold"),
        ("&lt;br&gt;salt &amp;amp; pepper", "salt & pepper"),
        ("I <3 it, 2 < 3 and 5 > 4", "I <3 it, 2 < 3 and 5 > 4"),
        ("a<script type='x'>alert('<b>')</script>b", "a b"),
        ("nul\x00bell\x07 zero\u200bwidth", "nulbell zerowidth"),
        ("e\u0301", "é"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("", ""),
        # what shoppers type is no markup
        ("size <M", "size <M"),
        ("I love it <heart", "I love it <heart"),
        ("mail <me@shop.com> about <5cm gaps", "mail <me@shop.com> about <5cm gaps"),
        ("map<string,int> and 5' 10\"", "map<string,int> and 5' 10\""),
        # what shops paste is
        ("a<b>bo<i>ld</b> it</i> x", "abold it x"),
        ("<p>unclosed <b>bold <p>next", "unclosed bold next"),
        ("<ul><li>a<li>b</ul><table><tr><td>c</td><td>d</table>", "a b c d"),
        ("<div title='a > b'>x</div>", "x"),
        ('<a href="?a>b" class=link>x</a>', "x"),
        ('<a href="x>text "quoted" here', 'text "quoted" here'),
        ("<!-- hidden > <b>text</b> -->seen", "seen"),
        ("<!-- never closed", "<!-- never closed"),
        ("<?xml:namespace prefix = o />Word", "Word"),
        ("<STYLE>p{color:red}</STYLE>Title<script>never closed", "Title never closed"),
        ("&amp;lt;b&amp;gt; is escaped three times", "<b> is escaped three times"),
        ("cafÃ©", "cafÃ©"),
    ],
)
def test_clean_leaves_what_a_shopper_would_read(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@given(st.text())
def test_cleaned_text_is_one_nfc_line_without_control_characters(raw: str) -> None:
    cleaned = clean(raw)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in cleaned)


def test_hash_is_the_start_of_the_sha256() -> None:
    assert text_hash("ấm") == hashlib.sha256("ấm".encode()).hexdigest()[:32]


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        ("one<br/>two<br>three", ["one", "two", "three"]),
        ("<p>One <b>bold</b></p><p>Two</p>", ["One bold", "", "Two"]),
        ("a<script>if (a<b) x()</script>b<!-- c -->d", ["a", "b", "d"]),
        ("first\nsecond", ["first", "second"]),
    ],
)
def test_block_tags_end_lines_and_inline_tags_do_not(raw: str, lines: list[str]) -> None:
    assert plain_lines(raw).strip().split("\n") == lines


def test_unclosed_blocks_are_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One search per block would take time quadratic in the text's length, and requests hold up the event loop."""
    searches: list[str] = []

    class Counted:
        def __init__(self, kind: str) -> None:
            self.kind, self.pattern = kind, cleaning._BLOCK_END[kind]

        def search(self, text: str, start: int) -> re.Match[str] | None:
            searches.append(self.kind)
            return self.pattern.search(text, start)

    monkeypatch.setattr(cleaning, "_BLOCK_END", {kind: Counted(kind) for kind in cleaning._BLOCK_END})
    clean(("<script>" + "<style>" + "<!--") * 1000)
    # The second pass finds comments only: the first one has removed the other tags.
    assert searches == ["script", "style", "comment", "comment"]
