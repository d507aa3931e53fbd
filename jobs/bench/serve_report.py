"""The results of `recsys bench serve` as a table."""

from __future__ import annotations

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.bench.serve import OVERLOAD, Overload, ServeBench
from jobs.bench.serve_requests import NO_OP

WIDTH: Final = 100


def print_serve_report(report: ServeBench, console: Console | None = None) -> None:
    """Print a row per target and number of connections, relative to the no-op route; at most `WIDTH` columns wide."""
    console = console or Console()
    console = Console(file=console.file, width=min(console.width, WIDTH) if console.is_terminal else WIDTH)
    title = f"{report.n_items:,} items, {report.n_processors} CPUs shared by client and service"
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("target", no_wrap=True)
    for name in ("conn.", "requests/s", "of no-op", "p50 ms", "x no-op", "p95 ms", "p99 ms", "errors", "client"):
        table.add_column(name, justify="right", no_wrap=True)
    no_op = {row.connections: row for row in report.rows if row.target == NO_OP}
    for row in report.rows:
        beside = no_op[row.connections]
        table.add_row(
            row.target,
            str(row.connections),
            f"{row.qps:,.0f}",
            f"{row.qps / beside.qps:.0%}",
            f"{row.p50_ms:.2f}",
            f"{row.p50_ms / beside.p50_ms:.1f}",
            f"{row.p95_ms:.2f}",
            f"{row.p99_ms:.2f}",
            str(row.errors),
            f"{row.client_share:.0%}",
        )
    table.caption = (
        f"Memory per replica: {report.replica_rss_mb:,.0f} MiB. Model files: {report.bytes_per_item:,.0f} bytes per "
        "item. client: share of one CPU used by the load generator."
    )
    console.print(table)
    if report.overload is not None:
        console.print(_overload_lines(report.overload), highlight=False)


def _overload_lines(overload: Overload) -> str:
    return (
        f"{OVERLOAD:g}x capacity, {overload.offered_qps:,.0f} requests/s: {overload.admitted_qps:,.0f}/s admitted, p50 "
        f"{overload.admitted_p50_ms:.1f} ms, p99 {overload.admitted_p99_ms:.1f} ms (unloaded "
        f"{overload.unloaded_p99_ms:.1f}); {overload.refused_qps:,.0f}/s refused, p50 "
        f"{overload.refused_p50_ms:.1f} ms, p99 {overload.refused_p99_ms:.1f} ms; {overload.errors} errors; client "
        f"{overload.client_share:.0%}."
    )
