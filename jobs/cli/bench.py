"""`recsys bench …`: measure quality, encoder and service, each beside other libraries."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from features.workspace.location import local_workspace
from features.workspace.user_cache import user_cache
from jobs.cli.ingest_options import CatalogOption, MapOption, SetOption, absolute_paths
from jobs.cli.options import (
    ConfigOption,
    FiguresOption,
    WorkspaceOption,
    check_json_folder,
    settings_of,
    shown_progress,
    write_json,
)
from jobs.ingest.sources.spec import SourceSpec, assignments, constants
from recsys.errors import DataError
from recsys.workspace import Workspace

# Imports inside the commands: torch and ray take seconds to import, and `recsys --help` must be fast.

bench_app = typer.Typer(help="Measure quality, encoder and service, each beside other libraries.", no_args_is_help=True)


ModelsOption = Annotated[
    str | None, typer.Option("--models", help="Comma-separated names of the models to run. Default: all.")
]


class ProtocolName(StrEnum):
    """The values of `--protocol`."""

    LEAVE_ONE_OUT = "leave-one-out"
    TEMPORAL = "temporal"


@bench_app.command("quality")
def quality_command(
    events: Annotated[list[str], typer.Option(help="File or glob of events; repeat the option for several.")],
    json_path: FiguresOption,
    catalog: CatalogOption = None,
    column_map: MapOption = None,
    set_constants: SetOption = None,
    protocol: Annotated[
        ProtocolName,
        typer.Option(help="Test on each user's last item, or on all events after one point in time."),
    ] = ProtocolName.TEMPORAL,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per stochastic model; results are means.")] = 1,
    models: ModelsOption = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            help="Also run RecTools SASRec, RecTools ALS and LensKit item-item; installs them on first use.",
        ),
    ] = False,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", file_okay=False, help="Folder that caches text embeddings between runs."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Compare recall and NDCG of popularity, ALS, BM25, EASE and the served lists on one split of your events.

    Reads Parquet, CSV, TSV or JSON lines with user_id, item_id and timestamp. Event types, catalogue and titles
    are optional.
    """
    from jobs.bench.data import read_bench
    from jobs.bench.models import MODELS
    from jobs.bench.peer_runner import peers_python
    from jobs.bench.peers.models import PEERS
    from jobs.bench.quality import bench_quality, print_report

    check_json_folder(json_path)
    model_names = _model_names(models, [*PEERS, *MODELS] if peers else list(MODELS))  # the product's own models last
    paths = absolute_paths(events=events, catalog=catalog)
    spec = SourceSpec("table", paths, assignments("--map", column_map or ()), constants(set_constants or ()))
    place = Workspace(workspace or user_cache("bench"))
    settings = settings_of(place, config)
    with shown_progress() as progress:
        data = read_bench(spec, protocol.value, place, settings, datetime.now(UTC), progress)
        python = peers_python(user_cache("bench"), progress) if any(name in PEERS for name in model_names) else None
        report = bench_quality(data, model_names, seeds, progress, peers=python)
    write_json(json_path, report.results())
    print_report(report)


@bench_app.command("embed")
def embed_command(
    reviews: Annotated[list[str], typer.Option(help="File or glob of reviews; repeat the option for several.")],
    json_path: FiguresOption,
    column_map: MapOption = None,
    set_constants: SetOption = None,
    texts: Annotated[int, typer.Option(min=0, help="Number of reviews to sample; 0 uses all.")] = 2000,
    runs: Annotated[int, typer.Option(min=1, help="Timed passes over the texts; reports the median.")] = 3,
    config: ConfigOption = None,
) -> None:
    """Measure texts per second of the encoder in each precision, beside sentence-transformers on the same reviews."""
    from jobs.bench.embed import bench_embed, print_embed_report, read_review_texts

    check_json_folder(json_path)
    spec = SourceSpec(
        "table",
        absolute_paths(reviews=reviews),
        assignments("--map", column_map or ()),
        constants(set_constants or ()),
    )
    settings = settings_of(Workspace(user_cache("bench")), config)
    with shown_progress() as progress:
        chosen = read_review_texts(spec, texts, settings, datetime.now(UTC), progress)
        report = bench_embed(chosen, settings.encoder, runs, progress)
    write_json(json_path, report)
    print_embed_report(report)


@bench_app.command("sample")
def sample_command(
    json_path: FiguresOption,
    products: Annotated[int, typer.Option(min=1, help="Number of products.")] = 2000,
    shoppers: Annotated[int, typer.Option(min=1, help="Number of shoppers.")] = 3000,
    days: Annotated[int, typer.Option(min=1, help="Days of simulated history.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the storefront.")] = 0,
    storefronts: Annotated[
        int,
        typer.Option(min=1, help="Number of storefronts, with consecutive seeds; results pool all their shoppers."),
    ] = 1,
    models: ModelsOption = None,
    config: ConfigOption = None,
) -> None:
    """Compare models on a simulated storefront, where the shoppers' true tastes give the best possible quality."""
    from jobs.bench.data import read_bench
    from jobs.bench.models import MODELS
    from jobs.bench.quality import bench_quality, pooled, print_report
    from jobs.ingest.sources.sample import make_sample

    check_json_folder(json_path)
    model_names = _model_names(models, list(MODELS))
    place = Workspace(user_cache("bench"))
    settings = settings_of(place, config)
    reports = []
    with shown_progress() as progress:
        for of_shop in range(seed, seed + storefronts):
            folder = place.root / f"sample-{products}-{shoppers}-{days}-{of_shop}"
            spec = make_sample(
                folder, n_products=products, n_shoppers=shoppers, days=days, seed=of_shop, progress=progress
            )
            data = read_bench(spec, ProtocolName.TEMPORAL.value, place, settings, datetime.now(UTC), progress)
            reports.append(bench_quality(data, model_names, 1, progress, sample=folder))
    report = pooled(reports)
    write_json(json_path, report.results())
    print_report(report)


@bench_app.command("serve")
def serve_command(
    workspace: WorkspaceOption,
    json_path: FiguresOption,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of load per row of the table.")] = 6.0,
    rounds: Annotated[int, typer.Option(min=1, help="Measurement rounds; each row's seconds are split over them.")] = 3,
    overload: Annotated[
        bool, typer.Option("--overload/--no-overload", help="Also measure at 3x the measured capacity.")
    ] = True,
    api_key: Annotated[str | None, typer.Option(help="API key with the read scope, if the workspace has keys.")] = None,
    config: ConfigOption = None,
) -> None:
    """Measure the service at 1 and 16 connections, beside its no-op route and beside ALS on FastAPI."""
    from jobs.bench.serve import bench_serve
    from jobs.bench.serve_report import print_serve_report

    check_json_folder(json_path)
    with shown_progress() as progress:
        report = bench_serve(local_workspace(workspace), config, api_key, seconds, rounds, progress, overload=overload)
    write_json(json_path, report)
    print_serve_report(report)


def _model_names(models: str | None, known: list[str]) -> list[str]:
    """The names given to `--models`, or all known names without it. Raises DataError for an unknown name."""
    from jobs.bench.peers.models import PEERS

    names = [name.strip() for name in models.split(",")] if models is not None else known
    unknown = [name for name in names if name not in known]
    if unknown:
        remedy = "add --peers" if unknown[0] in PEERS else f"choose from {', '.join(known)}"
        raise DataError(f"--models {unknown[0]}: no such model; {remedy}")
    return names
