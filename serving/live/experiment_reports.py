"""What has come of the experiments so far: worked out beside the event loop, and again only after a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from features.live.database import LiveDatabase
from features.live.experiment_report import ExperimentReport, experiment_report
from recsys import config
from recsys.errors import DataError, StoreError

log = logging.getLogger(__name__)

FRESH_S: Final = 10.0
"""So long at least an answer is given again."""

FRESH_TIMES: Final = 20.0
"""And as many times as long as it took: whoever watches a large shop costs its lists 5 % of a processor at most."""


@dataclass(frozen=True)
class Reports:
    """The reports by experiment, as they stood at a moment."""

    at: datetime
    reports: tuple[ExperimentReport, ...]


@dataclass(frozen=True)
class _Kept:
    reports: Reports
    until_s: float


class ExperimentReports:
    """The experiments of the settings. lake: its folder, which need not be there."""

    def __init__(
        self,
        experiments: Mapping[str, config.ExperimentSettings],
        database: LiveDatabase,
        lake: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.experiments = experiments
        self._database = database
        self._lake = lake
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._working = asyncio.Lock()

    async def of(self, metric: str) -> Reports:
        """By a type of event. Whoever asks while they are worked out waits for the same ones.

        Raises StoreError where the database or the lake cannot be read.
        """
        async with self._working:
            kept = self._kept.get(metric)
            if kept is None or self._clock() >= kept.until_s:
                kept = await asyncio.to_thread(self._made, metric)
                self._kept[metric] = kept
        return kept.reports

    def _made(self, metric: str) -> _Kept:
        start_s = self._clock()
        try:
            reports = self._read(metric)
        except (DataError, OSError, pl.exceptions.PolarsError) as error:
            # A night may just have replaced files of the lake that were about to be read: then others are there now.
            log.info("experiments read again metric=%s error=%s", metric, error)
            try:
                reports = self._read(metric)
            except (DataError, OSError, pl.exceptions.PolarsError) as again:
                raise StoreError(f"the lake cannot be read: {again}") from None
        end_s = self._clock()
        return _Kept(reports, end_s + max(FRESH_S, FRESH_TIMES * (end_s - start_s)))

    def _read(self, metric: str) -> Reports:
        return Reports(
            datetime.now(UTC),
            tuple(
                experiment_report(name, experiment, metric, self._database, self._lake)
                for name, experiment in self.experiments.items()
            ),
        )
