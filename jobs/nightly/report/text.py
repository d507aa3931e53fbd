"""The sentences and tables of a run's report: its outcome, the reason, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from jobs.gate.findings import stops, warnings
from jobs.nightly.record import LOG_FILE
from jobs.nightly.report.figures import History, RunFigures, number

SLICES: Final = {
    "all": "all shoppers",
    "cold_user": "new shoppers",
    "target_0": "new items (0 interactions)",
    "target_1_4": "items with 1-4 interactions",
    "target_5_19": "items with 5-19 interactions",
    "target_20_up": "items with 20+ interactions",
    "head": "more popular half of items",
    "tail": "less popular half of items",
}
TABLES: Final = {"catalog": "products", "events": "events", "reviews": "reviews"}
VERDICTS: Final = {"ok": "ok", "warning": "warning", "stop": "failed"}
STEP_STATUSES: Final = {"made": "done"}
"""As a person reads it, where that differs from the run's record."""


@dataclass(frozen=True)
class Outcome:
    """badge: the outcome in a word; mood: good, quiet or bad; says: in a sentence; remedies: what to do, most urgent
    first."""

    badge: str
    mood: str
    says: str
    remedies: tuple[str, ...] = ()


def outcome(figures: RunFigures, live_id: str | None) -> Outcome:
    """live_id: the release that is live after the run."""
    run = figures.run
    live = f"Release {live_id} stays live." if live_id else "No release is live yet."
    if run.status == "published":
        return _published(figures)
    if run.status == "finished" and run.release_id:
        live = "it stays live." if live_id == run.release_id else f"release {live_id} is live."
        says = f"No changes since release {run.release_id}: nothing was published, and {live}"
        return Outcome("No changes", "quiet", says, _remedies(figures))
    if run.status == "finished":
        says = f"Only the steps up to “{run.until}” were requested, so nothing was published. {live}"
        return Outcome("Partial run", "quiet", says)
    if run.status == "held back":
        return _held_back(figures, live)
    where = f" in step “{run.steps[-1].name}”" if run.steps else " before the first step"
    if run.status == "stopped":
        remedy = "`recsys nightly --resume` continues from the step where it stopped"
        return Outcome("Stopped", "bad", f"The run was stopped{where}; nothing was published. {live}", (remedy,))
    if run.error == "killed":
        says = f"The run was killed{where}; nothing was published. {live}"
        remedy = "check whether the machine ran out of memory or restarted; the next run reuses all finished steps"
        return Outcome("Killed", "bad", says, (remedy,))
    says = f"The run failed{where}; nothing was published. {live} Error: {run.error}"
    remedy = (
        f"fix the cause, then run `recsys nightly --resume` to continue; see {LOG_FILE} beside this page for details"
    )
    return Outcome("Failed", "bad", says, (remedy,))


def _published(figures: RunFigures) -> Outcome:
    until = f", with data up to {figures.as_of:%d %B %Y, %H:%M} UTC" if figures.as_of else ""
    forced = " It was published with --force in spite of failed checks." if stops(figures.findings) else ""
    says = f"Release {figures.run.release_id} is live{until}.{forced}"
    return Outcome("Published", "good", says, _remedies(figures))


def _held_back(figures: RunFigures, live: str) -> Outcome:
    stopping = stops(figures.findings)
    if not stopping:
        return Outcome("Held back", "bad", f"Not published: {figures.run.error}.")
    first = stopping[0]
    check = "gate" if figures.gate and first in figures.gate.findings else "data check"
    more = f", and {len(stopping) - 1} more failed" if len(stopping) > 1 else ""
    failed = f"{check} “{finding_name(first.name)}” failed: {first.says} (expected {first.expected()}){more}"
    says = f"Not published: {failed}. {live}"
    return Outcome("Held back", "bad", says, (*_remedies(figures), "`recsys nightly --force` publishes anyway"))


def _remedies(figures: RunFigures) -> tuple[str, ...]:
    """A line per remedy of the findings that stop or warn, those that stop first."""
    names: dict[str, list[str]] = {}
    for finding in (*stops(figures.findings), *warnings(figures.findings)):
        if finding.remedy:
            names.setdefault(finding.remedy, []).append(finding_name(finding.name))
    return tuple(f"{'; '.join(of_remedy)}: {remedy}" for remedy, of_remedy in names.items())


def slice_name(name: str) -> str:
    """As a person reads it."""
    return SLICES.get(name, name.removeprefix("category_"))


def finding_name(name: str) -> str:
    """As a person reads it: findings of the quality on a slice name it by its key."""
    kind, comma, slice_key = name.partition(", ")
    return f"{kind}, {slice_name(slice_key)}" if comma and kind == "quality" else name


def ingested_tables(figures: RunFigures) -> list[dict[str, Any]]:
    """A row per table with new data, files and the service's log added up."""
    rows: dict[str, dict[str, Any]] = {}
    for table in figures.ingested.tables:
        row = rows.setdefault(table.table, {"read": 0, "new": 0, "updated": 0, "bad": 0, "rules": {}})
        for name in ("read", "new", "updated", "bad"):
            row[name] += getattr(table, f"n_{name}")
        for rule, count in table.reasons.items():
            row["rules"][rule] = row["rules"].get(rule, 0) + count
    return [{"table": TABLES.get(name, name)} | row for name, row in rows.items()]


def window(figures: RunFigures) -> str:
    """The data that the checks looked at, in a sentence; "" where there was none."""
    checks = figures.checks
    if checks is None or checks.events is None or checks.window is None:
        return ""
    start, end = (f"{moment:%d %b %Y, %H:%M}" for moment in checks.window)
    return f"{checks.events:,} new events from {start} to {end} UTC."


def against_served(figures: RunFigures) -> list[dict[str, Any]]:
    """A row per slice on which candidate and served release were compared, and whether the difference is
    significant."""
    rows = []
    for change in figures.gate.slices if figures.gate else ():
        if change.n_users:
            verdict = "better" if change.low > 0 else "worse" if change.high < 0 else "similar"
            rows.append(asdict(change) | {"label": slice_name(change.name), "verdict": verdict})
    return rows


def held_out_quality(figures: RunFigures) -> list[dict[str, Any]]:
    """A row per slice of the run's held-out days: the lists, and popularity beside them."""
    fused, popular = (figures.metrics.get(name) or {} for name in ("fused", "popularity"))
    return [
        {"label": slice_name(name), **measures, "popular": number(popular, name, "ndcg")}
        for name, measures in fused.items()
        if number(measures, "n_users")
    ]


def cost(history: History) -> list[dict[str, str]]:
    """Time, memory and embedded texts of this run, and the median of the published runs before."""
    kinds = (
        ("duration", lambda figures: figures.seconds, seconds),
        ("peak memory", lambda figures: figures.peak_mb, lambda value: f"{value:,.0f} MB"),
        (
            "texts embedded",
            lambda figures: float(figures.counts.get("texts embedded", 0)),
            lambda value: f"{value:,.0f}",
        ),
    )
    rows = []
    for name, figure, shown in kinds:
        before = sorted(figure(figures) for figures in history.published)
        usual = shown(before[len(before) // 2]) if before else "–"
        rows.append({"name": name, "current": shown(figure(history.current)), "usual": usual})
    return rows


def seconds(value: float) -> str:
    """A duration of any length: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 100:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
