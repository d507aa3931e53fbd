"""Checks of a night's new data before anything is learned from it, against the days and nights before.

What is usual is what 90 % of the earlier days were, so weekends and sales of the last weeks are usual, too. A figure is
told where it lies outside by more than the limit `warn` and by more than chance explains, and it ends the night beyond
`stop`. Chance is how much the earlier days differ among themselves, or the figure's standard error with so many rows
where that is more: it keeps small shops from tripping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from jobs.gate.data_profile import Profile, Texts, Window, mean_shares, total_variation
from jobs.gate.findings import Finding, Severity
from recsys import config
from recsys.config import LimitSettings

SPREAD = (0.05, 0.95)
"""Quantiles of the earlier days between which a figure is usual."""

JUMP = math.log(3.0)


@dataclass(frozen=True)
class Arrivals:
    """Of the rows that were read since the last night, and those of them that broke a rule. hours_stalled: by how
    much the newest event has fallen behind the clock since then."""

    n_read: int = 0
    n_bad: int = 0
    hours_stalled: float = 0.0


@dataclass(frozen=True)
class Foresight:
    """How often the served release preferred what a shopper then dealt with to what others did, 0 to 1; 0.5 is chance.
    error: standard error of the mean of `n` shoppers."""

    value: float
    error: float
    n: int


@dataclass(frozen=True)
class NewData:
    """All that the checks look at. days: the profiles before `new`; quarantined: the share of bad rows of earlier
    nights; before, after: item_id, price, available of the served release and of the catalogue now; foresight: of
    the new choices; foreseen: what was reached before, None where nothing was measured."""

    window: Window
    new: Profile
    days: Sequence[Profile]
    arrivals: Arrivals
    quarantined: Sequence[float]
    before: pl.DataFrame
    after: pl.DataFrame
    foresight: Foresight | None = None
    foreseen: Foresight | None = None


def check_data(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """One finding a figure that could be told: not those of too few rows, or without days to compare with."""
    checks: tuple[Callable[[NewData, config.ChecksSettings], list[Finding]], ...] = (
        _volume,
        _stalled,
        _shares,
        _quarantined,
        _event_mix,
        _items_gone,
        _prices,
        _paid,
        _texts,
        _foresight,
    )
    return [finding for check in checks for finding in check(data, settings)]


def _volume(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    counts = [day.n_events for day in data.days]
    if not _comparable(counts, settings) or np.median(counts) < settings.min_rows:
        return []
    a_day = data.new.n_events / data.window.days
    low, high = _usual(counts)
    noise = max(_spread([math.log(count) for count in counts]), 1.0 / math.sqrt(np.median(counts)))
    says = f"{a_day:,.0f} events a day"
    remedy = "look for a source that failed or was sent twice"
    return [_times("volume", a_day, low, high, noise, settings.volume, settings.sigmas, says, remedy)]


def _stalled(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """Without any new event there is nothing to keep from the release: that is told and stops nothing."""
    hours, limit = data.arrivals.hours_stalled, settings.stalled_hours
    severity = _severity(hours, 0.0, limit)
    if data.arrivals.n_read == 0 and severity == "stop":
        severity = "warning"
    says = f"the newest event has fallen {hours:,.0f} hours behind the clock since the last night"
    return [_found("freshness", hours, -math.inf, limit.warn, severity, says, "see whether the events still arrive")]


def _shares(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    told: tuple[tuple[str, Callable[[Profile], int], Callable[[Profile], int], LimitSettings, str, str], ...] = (
        (
            "repeated events",
            lambda day: day.n_repeated,
            lambda day: day.n_events,
            settings.repeated,
            "of the events repeat another in all but the id",
            "see whether a sender gives each event a new id at each attempt",
        ),
        (
            "unknown items",
            lambda day: day.n_unknown_items,
            lambda day: day.n_with_item,
            settings.unknown_items,
            "of the events are on items that the catalogue lacks",
            "ingest the missing products, or see whether item ids were mixed up",
        ),
        (
            "one user",
            lambda day: day.n_of_user,
            lambda day: day.n_events,
            settings.top_user_share,
            "of the events are one user's",
            "look at the user with most events: a robot, or a test account",
        ),
    )
    findings = []
    for name, part, whole, limit, says, remedy in told:
        days = [part(day) / whole(day) for day in data.days if whole(day) >= settings.min_rows]
        n = whole(data.new)
        if n >= settings.min_rows and _comparable(days, settings):
            share = part(data.new) / n
            error = math.sqrt(share * (1.0 - share) / n)
            findings.append(_more(name, share, days, error, limit, settings.sigmas, f"{share:.1%} {says}", remedy))
    return findings


def _quarantined(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """Rows that break a rule are not usual, so the first night is judged, too."""
    n = data.arrivals.n_read
    if n < settings.min_rows:
        return []
    share = data.arrivals.n_bad / n
    says = f"{share:.1%} of the rows that came in broke a rule"
    error = math.sqrt(share * (1.0 - share) / n)
    remedy = "see the rules' names in the quarantine folder"
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
        f"{away:.1%} of the events are of another type than usual, most of all {most}: "
        f"{data.new.mix.get(most, 0.0):.1%} instead of {usual.get(most, 0.0):.1%}"
    )
    own = [total_variation(day.mix, usual) for day in days]
    remedy = f"see whether {most} events are still sent as before"
    return [_more("event mix", away, own, 0.0, settings.event_mix, settings.sigmas, says, remedy)]


def _items_gone(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    sold = data.before.filter("available")
    if len(sold) < settings.min_rows:
        return []
    left = data.after.filter(pl.col("available") & pl.col("item_id").is_in(sold["item_id"].implode()))
    share = 1.0 - len(left) / len(sold)
    limit = settings.unavailable_items
    says = f"{share:.1%} of the {len(sold):,} items that could be bought can no longer be"
    remedy = "see whether the catalogue's file is complete"
    return [_found("items gone", share, -math.inf, limit.warn, _severity(share, 0.0, limit), says, remedy)]


def _prices(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    priced = data.before.join(data.after, on="item_id", suffix="_now").filter(
        (pl.col("price") > 0) & (pl.col("price_now") > 0)
    )
    if len(priced) < settings.min_rows:
        return []
    moved = (priced["price_now"] / priced["price"]).log().to_numpy()
    times, jumped = float(np.exp(np.median(moved))), float((np.abs(moved) > JUMP).mean())
    remedy = "see whether the currency or the unit of the catalogue's prices changed"
    level, jumps = settings.price_level, settings.price_jumps
    return [
        _times("price level", times, 1.0, 1.0, 0.0, level, 0.0, f"items cost {times:.3g} times as much", remedy),
        _found(
            "price jumps",
            jumped,
            -math.inf,
            jumps.warn,
            _severity(jumped, 0.0, jumps),
            f"{jumped:.1%} of the items cost more than 3 times as much or less than a third",
            remedy,
        ),
    ]


def _paid(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    days = [day for day in data.days if day.n_paid >= 1]
    n = data.new.n_paid
    if n < settings.min_rows or sum(day.n_paid for day in days) < settings.min_rows or not _comparable(days, settings):
        return []
    low, high = (math.exp(edge) for edge in _usual([day.log_paid for day in days]))
    paid = math.exp(data.new.log_paid)
    noise = 1.25 / math.sqrt(n)  # of a median, where the logarithm of what is paid spreads by about 1
    remedy = "see whether the currency or the unit of the purchases' value changed"
    says = f"a purchase is of {paid:,.2f} in the median"
    return [_times("paid", paid, low, high, noise, settings.purchase_value, settings.sigmas, says, remedy)]


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
    told = f"{kind} are {length:.0f} characters long in the geometric mean"
    cut = f"see whether {kind} are cut off or joined on their way"
    findings = [_times(f"length of {kind}", length, low, high, noise, settings.text_length, settings.sigmas, told, cut)]
    full = [day for day in days if day.n_texts >= settings.min_rows]
    if not _comparable(full, settings):
        return findings
    for what, shares, own_shares, limit in (
        ("letters", new.letters, [day.letters for day in full], settings.letter_mix),
        ("scripts", new.scripts, [day.scripts for day in full], settings.scripts),
    ):
        usual = mean_shares(own_shares)
        away = total_variation(shares, usual)
        own = [total_variation(one, usual) for one in own_shares]
        says = f"{away:.1%} of the {what} of {kind} are others than usual"
        remedy = f"see whether {kind} are in another language, or garbled"
        findings.append(_more(f"{what} of {kind}", away, own, 0.0, limit, settings.sigmas, says, remedy))
    return findings


def _foresight(data: NewData, settings: config.ChecksSettings) -> list[Finding]:
    """What was foreseen above chance, against what used to be; who knows little beyond chance says nothing."""
    found, usual = data.foresight, data.foreseen
    if found is None or usual is None:
        return []
    advantage = usual.value - 0.5
    error = settings.sigmas * math.hypot(found.error, usual.error)
    if advantage <= error:
        return []
    limit = settings.served_auc
    lost = (usual.value - found.value) / advantage
    severity: Severity = _severity(lost, 0.0, limit) if usual.value - found.value > error else "ok"
    says = (
        f"the served release preferred what shoppers then dealt with in {found.value:.1%} of comparisons, in "
        f"{usual.value:.1%} before"
    )
    low = usual.value - max(limit.warn * advantage, error)
    remedy = "see whether item or user ids of the new events were mixed up"
    return [_found("foresight", found.value, low, math.inf, severity, says, remedy)]


def _comparable(days: Sequence[object], settings: config.ChecksSettings) -> bool:
    return len(days) >= settings.min_days


def _usual(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values, dtype=np.float64), SPREAD)
    return float(low), float(high)


def _spread(values: Sequence[float]) -> float:
    """The standard deviation that their usual range has in a normal distribution: one odd day does not widen it."""
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
    """Of a share or distance, of which only too much is wrong. error: its standard error with so many rows."""
    top, by_chance = _usual(usual)[1], sigmas * max(error, _spread(usual))
    outside = value - top
    severity: Severity = _severity(outside, 0.0, limit) if outside > by_chance else "ok"
    return _found(name, value, -math.inf, top + max(limit.warn, by_chance), severity, says, remedy)


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
    """Of a figure of which both a multiple and a fraction are wrong. noise: standard error of its logarithm; low,
    high: what is usual; limits are told as factors of 1 or more."""
    away = max(value / max(high, 1e-12), low / max(value, 1e-12))
    by_chance = math.exp(sigmas * noise)
    severity: Severity = _severity(away, 1.0, limit) if away > by_chance else "ok"
    slack = max(limit.warn, by_chance)
    return _found(name, value, low / slack, high * slack, severity, says, remedy)


def _severity(outside: float, nothing: float, limit: LimitSettings) -> Severity:
    if outside <= nothing or outside <= limit.warn:
        return "ok"
    return "stop" if outside > limit.stop else "warning"


def _found(name: str, value: float, low: float, high: float, severity: Severity, says: str, remedy: str) -> Finding:
    return Finding(name, value, low, high, severity, says, "" if severity == "ok" else remedy)
