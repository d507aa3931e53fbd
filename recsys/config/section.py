"""The base class of every group of settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings. It cannot be changed after it is built, and it refuses keys that it does not define."""

    model_config = ConfigDict(frozen=True, extra="forbid")
