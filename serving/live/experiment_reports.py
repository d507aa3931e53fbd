"""Results of the experiments so far, computed in a thread and cached for a while."""

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
from cachetools import TLRUCache

from features.live.database import LiveDatabase
from features.live.experiment_report import ExperimentReport, experiment_report
from recsys import config
from recsys.errors import DataError, StoreError

log = logging.getLogger(__name__)

FRESH_S: Final = 10.0
"""Minimum time for which a result is cached."""

FRESH_TIMES: Final = 20.0
"""A result is also cached for this multiple of its computing time, so that watching the experiments of a large shop
takes 5 % of a processor at most."""

MAX_METRICS: Final = 8
"""More than there are event types."""


@dataclass(frozen=True)
class Reports:
    """The reports of all experiments, as of `at`."""

    at: datetime
    reports: tuple[ExperimentReport, ...]


@dataclass(frozen=True)
class _Cached:
    reports: Reports
    until_s: float


class ExperimentReports:
    """The reports of the experiments in the settings. lake: its folder, which need not exist."""

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
        self._cache: TLRUCache[str, _Cached] = TLRUCache(MAX_METRICS, lambda _key, value, _now: value.until_s, clock)
        self._lock = asyncio.Lock()

    async def of(self, metric: str) -> Reports:
        """The reports with this event type as the outcome. Concurrent requests wait for one computation.

        Raises StoreError where the database or the lake cannot be read.
        """
        async with self._lock:
            cached = self._cache.get(metric)
            if cached is None:
                cached = await asyncio.to_thread(self._compute, metric)
                self._cache[metric] = cached
        return cached.reports

    def _compute(self, metric: str) -> _Cached:
        start_s = self._clock()
        try:
            reports = self._read(metric)
        except (DataError, OSError, pl.exceptions.PolarsError) as error:
            # A nightly run may just have replaced files of the lake that were about to be read: read the new ones.
            log.info("experiment report read again metric=%s error=%s", metric, error)
            try:
                reports = self._read(metric)
            except (DataError, OSError, pl.exceptions.PolarsError) as again:
                raise StoreError(f"the lake cannot be read: {again}") from None
        end_s = self._clock()
        return _Cached(reports, end_s + max(FRESH_S, FRESH_TIMES * (end_s - start_s)))

    def _read(self, metric: str) -> Reports:
        return Reports(
            datetime.now(UTC),
            tuple(
                experiment_report(name, experiment, metric, self._database, self._lake)
                for name, experiment in self.experiments.items()
            ),
        )
