"""What `recsys compress` tells: the variants, their table, their JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH: Final = 100
K: Final = 10
FULL: Final = "full (fp32)"


@dataclass(frozen=True)
class Variant:
    """One way. disk_mb: of the weights' file; weights_mb: as they are held in memory; vector_bytes: of one stored.

    Cosines: of each text's vector, filled up with zeros where it is shorter, to the one of `FULL`. ndcg: mean over the
    held-out pairs, with the paired bootstrap's 95 % interval of its difference to `FULL`; query_ndcg: where only the
    queries are the variant's, and what they are compared with is `FULL`'s.
    """

    variant: str
    disk_mb: float
    weights_mb: float
    vector_bytes: int
    texts_per_s: float
    min_cosine: float
    mean_cosine: float
    ndcg: float
    query_ndcg: float
    ndcg_change_ci95: tuple[float, float]


@dataclass(frozen=True)
class CompressReport:
    """student: the folder of the pruned encoder, for `encoder.query_model`."""

    model: str
    n_texts: int
    n_pairs: int
    student: str
    variants: tuple[Variant, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures; `rows` holds the variants, NDCG under `ndcg@10` and `query_ndcg@10`."""
        rows = []
        for variant in self.variants:
            row = asdict(variant)
            rows.append(row | {f"{name}@{K}": row.pop(name) for name in ("ndcg", "query_ndcg")})
        told = asdict(self)
        del told["variants"]
        return told | {"rows": rows}


def print_compress_report(report: CompressReport, console: Console | None = None) -> None:
    """A row a variant, at most `WIDTH` columns, and where the student lies."""
    console = console or Console()
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console = Console(file=console.file, width=width)
    title = f"{report.n_pairs:,} held-out pairs, {report.n_texts:,} texts, {report.model}"
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True
    table.add_column("variant", no_wrap=True)
    sizes = ("disk\nMB", "held\nMB", "vector\nbytes")
    for name in (*sizes, "texts/s", "min\ncosine", "mean\ncosine", f"ndcg\n@{K}", "its change\n95 %", "as\nquery"):
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
        f"Held: weights in memory. Cosines and the change of ndcg@{K}: to {FULL}. As query: ndcg@{K} where all but the "
        f"queries is by {FULL}. Vectors are stored in fp32 unless the row says."
    )
    console.print(table)
    console.print(f'queries by the student: encoder.query_model = "{report.student}"', soft_wrap=True, highlight=False)
