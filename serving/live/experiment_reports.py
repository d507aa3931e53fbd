"""Reports of the experiments: computed in a thread, and cached for a while."""

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
"""A report is cached at least so long."""

FRESH_TIMES: Final = 20.0
"""And this many times as long as it took to compute, so that reports take at most 5 % of a processor from lists."""


@dataclass(frozen=True)
class Reports:
    """The reports of all experiments, computed at `at`."""

    at: datetime
    reports: tuple[ExperimentReport, ...]


@dataclass(frozen=True)
class _CachedReports:
    reports: Reports
    until_s: float


class ExperimentReports:
    """Of the experiments in the settings. lake: the lake's folder, which need not exist."""

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
        self._cached: dict[str, _CachedReports] = {}
        self._working = asyncio.Lock()

    async def of(self, metric: str) -> Reports:
        """The reports; metric: the type of event that counts as an outcome. Concurrent calls share one computation.

        Raises StoreError where the database or the lake cannot be read.
        """
        async with self._working:
            cached = self._cached.get(metric)
            if cached is None or self._clock() >= cached.until_s:
                cached = await asyncio.to_thread(self._computed, metric)
                self._cached[metric] = cached
        return cached.reports

    def _computed(self, metric: str) -> _CachedReports:
        start_s = self._clock()
        try:
            reports = self._read(metric)
        except (DataError, OSError, pl.exceptions.PolarsError) as error:
            # A nightly run may have replaced files of the lake while they were read: the new ones are there now.
            log.info("experiments read again metric=%s error=%s", metric, error)
            try:
                reports = self._read(metric)
            except (DataError, OSError, pl.exceptions.PolarsError) as again:
                raise StoreError(f"the lake cannot be read: {again}") from None
        end_s = self._clock()
        return _CachedReports(reports, end_s + max(FRESH_S, FRESH_TIMES * (end_s - start_s)))

    def _read(self, metric: str) -> Reports:
        return Reports(
            datetime.now(UTC),
            tuple(
                experiment_report(name, experiment, metric, self._database, self._lake)
                for name, experiment in self.experiments.items()
            ),
        )
