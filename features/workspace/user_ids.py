"""User ids that are e-mail addresses become keyed hashes, which only this workspace can make again.

A pseudonym is not anonymous: whoever has the workspace's key and an address can tell that they belong together. That is
wanted: `recsys erase alice@example.com` finds her, and one address is one shopper in every file.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import polars as pl
from pydantic import TypeAdapter

from features.workspace.erased_users import ensure_key, keyed, read_key
from features.workspace.record_file import RecordFile
from recsys.workspace import Workspace

PREFIX: Final = "u_"
_LETTERS: Final = 32
EMAIL_PATTERN: Final = r"[^\s@]+@[^\s@]+\.[^\s@]+"
"""Of an address anywhere in an id."""
_EMAIL: Final = re.compile(r"(?<![^\s@])" + EMAIL_PATTERN)
_BARE: Final = re.compile(r"(?:[^<]*<)?\s*(?:mailto:)?([^\s@<>]+@[^\s@<>]+\.[^\s@<>]+)\s*>?")


def is_email(user_id: str) -> bool:
    """Whether an id is, or contains, an e-mail address."""
    return "@" in user_id and _EMAIL.search(user_id) is not None


def address_of(user_id: str) -> str:
    """The address in lower case, without the name and the brackets around it; other ids that contain one as they are,
    in lower case."""
    text = unicodedata.normalize("NFC", user_id.strip()).casefold()
    bare = _BARE.fullmatch(text)
    return bare[1] if bare else text


@dataclass(frozen=True)
class Scheme:
    """How the workspace stores user ids that are e-mail addresses."""

    emails: Literal["hashed"] = "hashed"


SCHEME: Final = RecordFile("user_ids.json", TypeAdapter(Scheme))
"""Beside the key, once the first address was hashed. The service reads it: without it, addresses are looked up as they
are."""


@dataclass
class UserIds:
    """Pseudonyms under the key of one workspace. read_key: called when the first address is met."""

    read_key: Callable[[], bytes]

    @classmethod
    def of(cls, workspace: Workspace, check: Callable[[], None] = lambda: None) -> UserIds:
        """With the workspace's key, which is made when it is needed first. check: called before; may refuse."""

        def key() -> bytes:
            check()
            key_bytes = ensure_key(workspace)
            if SCHEME.find(workspace.erasures) is None:
                SCHEME.write(workspace.erasures, Scheme())
            return key_bytes

        return cls(key)

    @classmethod
    def find(cls, workspace: Workspace) -> UserIds | None:
        """With the workspace's key; None where it has hashed no address yet."""
        if not (workspace.erasures / SCHEME.name).exists():
            return None
        return cls(lambda: read_key(workspace))

    @classmethod
    def throwaway(cls) -> UserIds:
        """With a key of its own: for a look at what would be stored."""
        key = secrets.token_bytes(32)
        return cls(lambda: key)

    @cached_property
    def key(self) -> bytes:
        """The workspace's key."""
        return self.read_key()

    def pseudonym(self, user_id: str) -> str:
        """`u_` and 32 hexadecimal digits for an e-mail address in any case; other ids as they are."""
        if not is_email(user_id):
            return user_id
        address = address_of(user_id).encode("utf-8", "surrogatepass")
        return PREFIX + keyed(self.key, b"user id", address)[:_LETTERS]

    def pseudonyms(self, user_ids: pl.Series) -> pl.Series:
        """`pseudonym` of each id; a column without addresses is returned as it is."""
        if user_ids.dtype != pl.String:
            return user_ids
        has_address = user_ids.str.contains("@", literal=True).fill_null(value=False)
        if not has_address.any():
            return user_ids
        addresses = user_ids.filter(has_address).unique()
        return user_ids.replace(addresses, pl.Series([self.pseudonym(text) for text in addresses], dtype=pl.String))


def stored_ids(workspace: Workspace, user_id: str) -> tuple[str, ...]:
    """The ids under which a shopper's data is stored or may come: for an e-mail address, also the address in lower case
    and its pseudonym. The last is the form that the workspace uses now. Makes the key where an address needs it."""
    if not is_email(user_id) or not workspace.root.is_dir():
        return (user_id,)
    pseudonym = UserIds(lambda: ensure_key(workspace)).pseudonym(user_id)
    plain = (address_of(user_id), user_id)
    return tuple(dict.fromkeys((*plain, pseudonym) if UserIds.find(workspace) else (pseudonym, *plain)))
