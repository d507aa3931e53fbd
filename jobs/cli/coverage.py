"""What an ingest prints of how well catalogue, events and reviews fit together."""

from __future__ import annotations

from rich.console import Console

from jobs.lake.coverage import coverage
from jobs.lake.lake import Lake


def print_coverage(lake: Lake, min_matched_share: float) -> None:
    """Print the shares in one line, and a warning with examples where too few items are in the catalogue; nothing
    without a catalogue."""
    covered = coverage(lake)
    if covered is None:
        return
    lines = [covered.line()]
    if covered.lowest_share < min_matched_share:
        lines.append(
            f"warning: fewer than {min_matched_share:.0%} (ingest.min_matched_share) of the items are in the "
            f"catalogue; {covered.examples()}; give all files the same kind of item ids"
        )
    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
