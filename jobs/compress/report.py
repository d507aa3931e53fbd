"""The results of `recsys compress`: the variants as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH: Final = 100
K: Final = 10
FULL: Final = "full (fp32)"


@dataclass(frozen=True)
class Variant:
    """One variant. disk_mb: size of the weights' file; weights_mb: size in memory; vector_bytes: size of a stored
    vector.

    Cosines: of each text's vector, padded with zeros if it is shorter, with that of `FULL`. ndcg: mean NDCG@10 over the
    held-out pairs, with the paired bootstrap's 95 % interval of its difference to `FULL`; query_ndcg: NDCG@10 if only
    the queries are encoded by the variant and the candidates by `FULL`.
    """

    variant: str
    disk_mb: float
    weights_mb: float
    vector_bytes: int
    texts_per_s: float
    min_cosine: float
    mean_cosine: float
    ndcg: Annotated[float, Field(serialization_alias=f"ndcg@{K}")]
    query_ndcg: Annotated[float, Field(serialization_alias=f"query_ndcg@{K}")]
    ndcg_change_ci95: tuple[float, float]


@dataclass(frozen=True)
class CompressReport:
    """student: folder of the pruned encoder, a value for the setting `encoder.query_model`."""

    model: str
    n_texts: int
    n_pairs: int
    student: str
    variants: Annotated[tuple[Variant, ...], Field(serialization_alias="rows")]


def print_compress_report(report: CompressReport, console: Console | None = None) -> None:
    """Print a row per variant, at most `WIDTH` columns wide, and the folder of the student."""
    console = console or Console()
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console = Console(file=console.file, width=width)
    title = f"{report.n_pairs:,} held-out pairs, {report.n_texts:,} texts, {report.model}"
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True
    table.add_column("variant", no_wrap=True)
    sizes = ("disk\nMB", "RAM\nMB", "vector\nbytes")
    for name in (*sizes, "texts\n/s", "min\ncosine", "mean\ncosine", f"ndcg\n@{K}", "change\n95 %", "query\nndcg"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.variants:
        low, high = row.ndcg_change_ci95
        table.add_row(
            row.variant,
            f"{row.disk_mb:,.0f}",
            f"{row.weights_mb:,.0f}",
            f"{row.vector_bytes:,}",
            f"{row.texts_per_s:,.0f}",
            f"{row.min_cosine:.4f}",
            f"{row.mean_cosine:.4f}",
            f"{row.ndcg:.4f}",
            f"{low:+.3f}…{high:+.3f}",
            f"{row.query_ndcg:.4f}",
        )
    table.caption = (
        f"RAM: of the weights. Cosines and change of ndcg@{K}: compared with {FULL}. query ndcg: ndcg@{K} if only "
        f"queries are encoded by the variant, all else by {FULL}. Vectors are fp32 unless the row says otherwise."
    )
    console.print(table)
    console.print(
        f'to encode queries with the student: encoder.query_model = "{report.student}"', soft_wrap=True, highlight=False
    )
