"""What a night's report says in words: what became of the night, why, and what a person does about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from jobs.gate.findings import Finding
from jobs.nightly.record import LOG_FILE
from jobs.nightly.report.figures import History, NightFigures, number

SLICES: Final = {
    "all": "all shoppers",
    "cold_user": "new shopper",
    "target_0": "item is new",
    "target_1_4": "item had 1-4",
    "target_5_19": "item had 5-19",
    "target_20_up": "item had 20+",
    "head": "better-selling half",
    "tail": "less-selling half",
}
TABLES: Final = {"catalog": "products", "events": "events", "reviews": "reviews"}
VERDICTS: Final = {"ok": "fine", "warning": "odd", "stop": "too far"}


@dataclass(frozen=True)
class Outcome:
    """badge: in a word; mood: good, quiet or bad; says: in a sentence; remedies: what to do, most urgent first."""

    badge: str
    mood: str
    says: str
    remedies: tuple[str, ...] = ()


def outcome(night: NightFigures, live_id: str | None) -> Outcome:
    """live_id: the release that is served after the night."""
    run = night.run
    stays = f"{live_id} stays live" if live_id else "nothing is served yet"
    if run.status == "published":
        until = f": it knows the shop up to {night.as_of:%d %B %Y, %H:%M} UTC" if night.as_of else ""
        forced = ", although it would have been held back (--force)" if any(_stopping(night)) else ""
        return Outcome("Published", "good", f"Release {run.release_id} is live{forced}{until}.", _remedies(night))
    if run.status == "finished" and run.release_id:
        live = "it" if live_id == run.release_id else live_id
        says = f"Nothing has changed since release {run.release_id}, so nothing was published; {live} is live."
        return Outcome("Nothing changed", "quiet", says, _remedies(night))
    if run.status == "finished":
        return Outcome("In part", "quiet", f"Only steps up to “{run.until}” were asked for, so no release; {stays}.")
    if run.status == "held back":
        return _held_back(night, stays)
    step = run.steps[-1].name if run.steps else ""
    where = f" in the step “{step}”" if step else " before its first step"
    if run.status == "stopped":
        goes_on = "`recsys nightly --resume` goes on where it stopped"
        return Outcome(
            "Stopped", "bad", f"The night was stopped{where}, so nothing was published; {stays}.", (goes_on,)
        )
    if run.error == "killed":
        says = f"The night was killed{where}, so nothing was published; {stays}."
        remedy = "see whether the machine ran out of memory or was restarted; the next night takes what was finished"
        return Outcome("Killed", "bad", says, (remedy,))
    says = f"The night failed{where}, so nothing was published; {stays}. The reason: {run.error}."
    goes_on = f"mend that, then `recsys nightly --resume` goes on there; all the rest is in {LOG_FILE} beside this page"
    return Outcome("Failed", "bad", says, (goes_on,))


def _held_back(night: NightFigures, stays: str) -> Outcome:
    stopping = list(_stopping(night))
    if not stopping:
        return Outcome("Held back", "bad", f"Not published: {night.run.error}.")
    who = "the gate" if stopping[0] in night.gate.get("findings", ()) else "the data checks"
    more = f", and {len(stopping) - 1} more" if len(stopping) > 1 else ""
    says = f"Not published: {who} found that {stopping[0]['says']} (expected {expected(stopping[0])}){more}; {stays}."
    return Outcome("Held back", "bad", says, (*_remedies(night), "`recsys nightly --force` publishes anyway"))


def _stopping(night: NightFigures) -> list[Mapping[str, Any]]:
    return [one for one in night.findings if one.get("severity") == "stop"]


def _remedies(night: NightFigures) -> tuple[str, ...]:
    """A line each finding that stops or warns, those that stop first."""
    odd = [*_stopping(night), *(one for one in night.findings if one.get("severity") == "warning")]
    return tuple(f"{one['name']}: {one['remedy']}" for one in odd if one.get("remedy"))


def expected(finding: Mapping[str, Any]) -> str:
    """The range of a finding in words, as it was kept with null for no bound."""
    low, high = number(finding, "low"), number(finding, "high")
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    return Finding("", 0.0, *bounds, "ok", "").expected() if low is not None or high is not None else ""


def slice_name(name: str) -> str:
    """As a person reads it."""
    return SLICES.get(name, name.removeprefix("category_"))


def arrivals(night: NightFigures) -> list[dict[str, Any]]:
    """A row a table that brought any, files and the service's log put together."""
    rows: dict[str, dict[str, Any]] = {}
    for told in night.arrivals.get("tables", ()):
        row = rows.setdefault(told["table"], {"read": 0, "new": 0, "updated": 0, "bad": 0, "rules": {}})
        for name in ("read", "new", "updated", "bad"):
            row[name] += told[f"n_{name}"]
        for rule, count in told["reasons"].items():
            row["rules"][rule] = row["rules"].get(rule, 0) + count
    return [{"table": TABLES.get(name, name)} | row for name, row in rows.items()]


def window(night: NightFigures) -> str:
    """What the data checks looked at, in a sentence; "" where they had nothing to look at."""
    n_events, span = number(night.checks, "events"), night.checks.get("window")
    if n_events is None or not isinstance(span, list):
        return ""
    start, end = (f"{datetime.fromisoformat(moment):%d %b %Y, %H:%M}" for moment in span)
    return f"{n_events:,.0f} events from {start} to {end} UTC."


def against_served(night: NightFigures) -> list[dict[str, Any]]:
    """A row a slice on which candidate and served release were compared, and whether the difference is clear."""
    rows = []
    for told in night.gate.get("slices", ()):
        if told["n_users"]:
            verdict = "better" if told["low"] > 0 else "worse" if told["high"] < 0 else "even"
            rows.append(dict(told) | {"label": slice_name(told["name"]), "verdict": verdict})
    return rows


def own_quality(night: NightFigures) -> list[dict[str, Any]]:
    """A row a slice of the night's own last days: the lists, and popularity beside them."""
    fused, popular = (night.metrics.get(name) or {} for name in ("fused", "popularity"))
    return [
        {"label": slice_name(name), **told, "popular": number(popular, name, "ndcg")}
        for name, told in fused.items()
        if number(told, "n_users")
    ]


def cost(history: History) -> list[dict[str, str]]:
    """Seconds, memory and embedded texts of tonight, and of the middle one of the published nights before."""
    kinds = (
        ("time", lambda night: night.seconds, seconds),
        ("peak of memory", lambda night: night.peak_mb, lambda value: f"{value:,.0f} MB"),
        ("texts embedded", lambda night: float(night.counts.get("texts embedded", 0)), lambda value: f"{value:,.0f}"),
    )
    rows = []
    for name, figure, shown in kinds:
        before = sorted(figure(night) for night in history.published)
        usual = shown(before[len(before) // 2]) if before else "–"
        rows.append({"name": name, "tonight": shown(figure(history.tonight)), "usual": usual})
    return rows


def seconds(value: float) -> str:
    """Of any length: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 100:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
