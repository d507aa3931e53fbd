"""Checks of a nightly run's new data against the days and runs before, before anything is learned from it.

The usual range is that of 90 % of the earlier days, so it includes the weekends and sales of the last weeks. A figure
outside of it is a warning where it is outside by more than the limit `warn` and by more than chance explains, and it
stops the run beyond `stop`. Chance is the spread of the earlier days, or the figure's standard error with so many rows
where that is larger: this keeps the data of small shops from stopping runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from jobs.gate.data_profile import Profile, Texts, Window, mean_shares, total_variation
from jobs.gate.findings import Finding, Severity
from jobs.gate.served_auc import ServedAuc
from recsys import config
from recsys.config import LimitSettings

SPREAD = (0.05, 0.95)
"""Quantiles of the earlier days that bound the usual range."""

JUMP = math.log(3.0)


@dataclass(frozen=True)
class Arrivals:
    """Rows that were read since the last run, and how many of them broke a rule. hours_stalled: by how much the newest
    event has fallen behind the clock since then."""

    n_read: int = 0
    n_bad: int = 0
    hours_stalled: float = 0.0


@dataclass(frozen=True)
class NewData:
    """Everything that the checks look at. days: the profiles before `new`; quarantined: the shares of bad rows of
    earlier runs; before, after: item_id, price, available of the served release and of the catalogue now; served_auc:
    of the served release on the new data; usual_auc: the same of earlier runs, None where it was not measured."""

    window: Window
    new: Profile
    days: Sequence[Profile]
    arrivals: Arrivals
    quarantined: Sequence[float]
    before: pl.DataFrame
    after: pl.DataFrame
    served_auc: ServedAuc | None = None
    usual_auc: ServedAuc | None = None


def check_data(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """One finding per figure, without figures of too few rows or without days to compare with."""
    checks: tuple[Callable[[NewData, config.ChecksSettings], list[Finding]], ...] = (
        _volume,
        _stalled,
        _shares,
        _quarantined,
        _event_mix,
        _unavailable_items,
        _prices,
        _purchase_value,
        _texts,
        _served_auc,
    )
    return [finding for check in checks for finding in check(data, settings)]


def _volume(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    counts = [day.n_events for day in data.days]
    if not _comparable(counts, settings) or np.median(counts) < settings.min_rows:
        return []
    a_day = data.new.n_events / data.window.days
    low, high = _usual(counts)
    noise = max(_spread([math.log(count) for count in counts]), 1.0 / math.sqrt(np.median(counts)))
    says = f"{a_day:,.0f} events per day"
    remedy = "check for a source that failed or was ingested twice"
    return [_times("volume", a_day, low, high, noise, settings.volume, settings.sigmas, says, remedy)]


def _stalled(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """Without any new event there is no bad data to keep out of the release: this is a warning and stops nothing."""
    hours, limit = data.arrivals.hours_stalled, settings.stalled_hours
    severity = _severity(hours, 0.0, limit)
    if data.arrivals.n_read == 0 and severity == "stop":
        severity = "warning"
    says = f"the delay of the newest event grew by {hours:,.0f} hours since the last run"
    return [_finding("freshness", hours, -math.inf, limit.warn, severity, says, "check that events still arrive")]


def _shares(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    figures: tuple[tuple[str, Callable[[Profile], int], Callable[[Profile], int], LimitSettings, str, str], ...] = (
        (
            "repeated events",
            lambda day: day.n_repeated,
            lambda day: day.n_events,
            settings.repeated,
            "of events equal another event in everything but the id",
            "check whether a sender generates a new event id on each retry",
        ),
        (
            "unknown items",
            lambda day: day.n_unknown_items,
            lambda day: day.n_with_item,
            settings.unknown_items,
            "of events are on items that are not in the catalogue",
            "ingest the missing products, or check whether item ids were mixed up",
        ),
        (
            "top user share",
            lambda day: day.n_of_user,
            lambda day: day.n_events,
            settings.top_user_share,
            "of events belong to one user",
            "check the user with the most events: a bot or a test account",
        ),
    )
    findings = []
    for name, part, whole, limit, says, remedy in figures:
        days = [part(day) / whole(day) for day in data.days if whole(day) >= settings.min_rows]
        n = whole(data.new)
        if n >= settings.min_rows and _comparable(days, settings):
            share = part(data.new) / n
            error = math.sqrt(share * (1.0 - share) / n)
            findings.append(_more(name, share, days, error, limit, settings.sigmas, f"{share:.1%} {says}", remedy))
    return findings


def _quarantined(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """Rows that break a rule are never usual, so the first run is judged as well."""
    n = data.arrivals.n_read
    if n < settings.min_rows:
        return []
    share = data.arrivals.n_bad / n
    says = f"{share:.1%} of ingested rows broke a rule"
    error = math.sqrt(share * (1.0 - share) / n)
    remedy = "see the rows and the rules they broke in the quarantine folder"
    usual = list(data.quarantined) or [0.0]
    return [_more("quarantined", share, usual, error, settings.quarantined, settings.sigmas, says, remedy)]


def _event_mix(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    days = [day for day in data.days if day.n_events >= settings.min_rows]
    if data.new.n_events < settings.min_rows or not _comparable(days, settings):
        return []
    usual = mean_shares([day.mix for day in days])
    away = total_variation(data.new.mix, usual)
    names = {*usual, *data.new.mix}
    most = max(sorted(names), key=lambda name: abs(data.new.mix.get(name, 0.0) - usual.get(name, 0.0)))
    says = (
        f"the shares of event types differ from usual by {away:.1%}, mostly {most}: "
        f"{data.new.mix.get(most, 0.0):.1%} instead of {usual.get(most, 0.0):.1%}"
    )
    distances = [total_variation(day.mix, usual) for day in days]
    remedy = f"check whether {most} events are still sent as before"
    return [_more("event mix", away, distances, 0.0, settings.event_mix, settings.sigmas, says, remedy)]


def _unavailable_items(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    sold = data.before.filter("available")
    if len(sold) < settings.min_rows:
        return []
    left = data.after.filter(pl.col("available") & pl.col("item_id").is_in(sold["item_id"].implode()))
    share = 1.0 - len(left) / len(sold)
    limit = settings.unavailable_items
    says = f"{share:.1%} of {len(sold):,} available items became unavailable"
    remedy = "check whether the catalogue file is complete"
    return [_finding("unavailable items", share, -math.inf, limit.warn, _severity(share, 0.0, limit), says, remedy)]


def _prices(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    priced = data.before.join(data.after, on="item_id", suffix="_now").filter(
        (pl.col("price") > 0) & (pl.col("price_now") > 0)
    )
    if len(priced) < settings.min_rows:
        return []
    moved = (priced["price_now"] / priced["price"]).log().to_numpy()
    times, jumped = float(np.exp(np.median(moved))), float((np.abs(moved) > JUMP).mean())
    remedy = "check whether the currency or unit of catalogue prices changed"
    level, jumps = settings.price_level, settings.price_jumps
    return [
        _times("price level", times, 1.0, 1.0, 0.0, level, 0.0, f"median price change: factor {times:.3g}", remedy),
        _finding(
            "price jumps",
            jumped,
            -math.inf,
            jumps.warn,
            _severity(jumped, 0.0, jumps),
            f"{jumped:.1%} of prices rose or fell by more than a factor of 3",
            remedy,
        ),
    ]


def _purchase_value(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    days = [day for day in data.days if day.n_paid >= 1]
    n = data.new.n_paid
    if n < settings.min_rows or sum(day.n_paid for day in days) < settings.min_rows or not _comparable(days, settings):
        return []
    low, high = (math.exp(edge) for edge in _usual([day.log_paid for day in days]))
    paid = math.exp(data.new.log_paid)
    noise = 1.25 / math.sqrt(n)  # of a median, where the logarithm of the values has a spread of about 1
    remedy = "check whether the currency or unit of purchase values changed"
    says = f"median purchase value {paid:,.2f}"
    return [_times("purchase value", paid, low, high, noise, settings.purchase_value, settings.sigmas, says, remedy)]


def _texts(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    kinds: Mapping[str, Callable[[Profile], Texts]] = {
        "searches": lambda day: day.searches,
        "reviews": lambda day: day.reviews,
    }
    findings = []
    for kind, texts_of in kinds.items():
        new, days = texts_of(data.new), [texts_of(day) for day in data.days if texts_of(day).n_texts >= 1]
        enough = sum(day.n_texts for day in days) >= settings.min_rows
        if new.n_texts >= settings.min_rows and enough and _comparable(days, settings):
            findings += _text_findings(kind, new, days, settings)
    return findings


def _text_findings(kind: str, new: Texts, days: Sequence[Texts], settings: config.ChecksSettings) -> list[Finding]:
    low, high = (math.exp(edge) for edge in _usual([day.log_length for day in days]))
    length, noise = math.exp(new.log_length), new.log_length_sd / math.sqrt(new.n_texts)
    says = f"geometric mean length of {kind}: {length:.0f} characters"
    remedy = f"check whether {kind} are truncated or concatenated"
    limit, sigmas = settings.text_length, settings.sigmas
    findings = [_times(f"length of {kind}", length, low, high, noise, limit, sigmas, says, remedy)]
    full = [day for day in days if day.n_texts >= settings.min_rows]
    if not _comparable(full, settings):
        return findings
    for what, shares, shares_by_day, limit in (
        ("letter", new.letters, [day.letters for day in full], settings.letter_mix),
        ("script", new.scripts, [day.scripts for day in full], settings.scripts),
    ):
        usual = mean_shares(shares_by_day)
        away = total_variation(shares, usual)
        distances = [total_variation(day_shares, usual) for day_shares in shares_by_day]
        says = f"{what} frequencies of {kind} differ from usual by {away:.1%}"
        remedy = f"check whether {kind} are in another language or garbled"
        findings.append(_more(f"{what} mix of {kind}", away, distances, 0.0, limit, settings.sigmas, says, remedy))
    return findings


def _served_auc(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """The AUC above chance, against that of earlier runs; without a clear earlier advantage there is no finding."""
    measured, usual = data.served_auc, data.usual_auc
    if measured is None or usual is None:
        return []
    advantage = usual.value - 0.5
    error = settings.sigmas * math.hypot(measured.error, usual.error)
    if advantage <= error:
        return []
    limit = settings.served_auc
    lost = (usual.value - measured.value) / advantage
    severity: Severity = _severity(lost, 0.0, limit) if usual.value - measured.value > error else "ok"
    says = f"AUC of the served release on later choices: {measured.value:.3f}, usually {usual.value:.3f}"
    low = usual.value - max(limit.warn * advantage, error)
    remedy = "check whether item or user ids of the new events were mixed up"
    return [_finding("served AUC", measured.value, low, math.inf, severity, says, remedy)]


def _comparable(days: Sequence[object], settings: config.ChecksSettings) -> bool:
    return len(days) >= settings.min_days


def _usual(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values, dtype=np.float64), SPREAD)
    return float(low), float(high)


def _spread(values: Sequence[float]) -> float:
    """The standard deviation of a normal distribution with this usual range: one outlier day does not widen it."""
    low, high = _usual(values)
    return (high - low) / 3.29


def _more(
    name: str,
    value: float,
    usual: Sequence[float],
    error: float,
    limit: LimitSettings,
    sigmas: float,
    says: str,
    remedy: str,
) -> Finding:
    """For a share or distance that is wrong only where it is too high. error: its standard error with so many rows."""
    top, by_chance = _usual(usual)[1], sigmas * max(error, _spread(usual))
    outside = value - top
    severity: Severity = _severity(outside, 0.0, limit) if outside > by_chance else "ok"
    return _finding(name, value, -math.inf, top + max(limit.warn, by_chance), severity, says, remedy)


def _times(
    name: str,
    value: float,
    low: float,
    high: float,
    noise: float,
    limit: LimitSettings,
    sigmas: float,
    says: str,
    remedy: str,
) -> Finding:
    """For a figure that may be too high or too low. noise: standard error of its logarithm; low, high: the usual range;
    limits are factors of 1 or more."""
    away = max(value / max(high, 1e-12), low / max(value, 1e-12))
    by_chance = math.exp(sigmas * noise)
    severity: Severity = _severity(away, 1.0, limit) if away > by_chance else "ok"
    slack = max(limit.warn, by_chance)
    return _finding(name, value, low / slack, high * slack, severity, says, remedy)


def _severity(outside: float, nothing: float, limit: LimitSettings) -> Severity:
    if outside <= nothing or outside <= limit.warn:
        return "ok"
    return "stop" if outside > limit.stop else "warning"


def _finding(name: str, value: float, low: float, high: float, severity: Severity, says: str, remedy: str) -> Finding:
    return Finding(name, value, low, high, severity, says, "" if severity == "ok" else remedy)
