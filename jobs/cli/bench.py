"""`recsys bench …`: measure the product on any file, beside what others would do with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from features.workspace.location import local_workspace
from features.workspace.user_cache import user_cache
from jobs.cli.ingest import CatalogOption, MapOption, SetOption, absolute_paths
from jobs.cli.options import ConfigOption, WorkspaceOption, settings_of, shown_progress
from jobs.ingest.sources.spec import SourceSpec, assignments, constants
from recsys.errors import DataError
from recsys.workspace import Workspace

# Commands import what they run: torch and ray take seconds to import, and `recsys --help` shall not wait for them.

bench_app = typer.Typer(help="Measure the product beside what others would do.", no_args_is_help=True)


ModelsOption = Annotated[str | None, typer.Option("--models", help="Only these, with commas.")]


class ProtocolName(StrEnum):
    """The words that `--protocol` takes."""

    LEAVE_ONE_OUT = "leave-one-out"
    TEMPORAL = "temporal"


@bench_app.command("quality")
def quality_command(
    events: Annotated[list[str], typer.Option(help="File or glob of events; repeat for more.")],
    json_path: Annotated[Path, typer.Option("--json", dir_okay=False, help="File for the figures.")],
    catalog: CatalogOption = None,
    column_map: MapOption = None,
    set_constants: SetOption = None,
    protocol: Annotated[
        ProtocolName, typer.Option(help="Each user's last item, or what follows one moment for all.")
    ] = ProtocolName.TEMPORAL,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each model that draws at random; figures are means.")] = 1,
    models: ModelsOption = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="Also RecTools' SASRec and ALS and LensKit's item-item, installed into the cache at first."
        ),
    ] = False,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", file_okay=False, help="Keeps the texts' vectors between runs.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Recall and NDCG of popularity, ALS, BM25, EASE and what the product serves, on one split of any events.

    Parquet, CSV, TSV or JSON lines of (user_id, item_id, timestamp); with or without a type of event, and with or
    without a catalogue or its titles.
    """
    from jobs.bench.data import read_bench
    from jobs.bench.models import MODELS
    from jobs.bench.peer_runner import peers_python
    from jobs.bench.peers.models import PEERS
    from jobs.bench.quality import bench_quality, print_report

    _check_folder(json_path)
    wanted = _wanted(models, [*PEERS, *MODELS] if peers else list(MODELS))  # ours last, as the product is
    paths = absolute_paths(events=events, catalog=catalog)
    spec = SourceSpec("table", paths, assignments("--map", column_map or ()), constants(set_constants or ()))
    place = Workspace(workspace or user_cache("bench"))
    settings = settings_of(place, config)
    with shown_progress() as progress:
        data = read_bench(spec, protocol.value, place, settings, datetime.now(UTC), progress)
        python = peers_python(user_cache("bench"), progress) if any(name in PEERS for name in wanted) else None
        report = bench_quality(data, wanted, seeds, progress, peers=python)
    json_path.write_text(json.dumps(report.to_json(), indent=1))
    print_report(report)


@bench_app.command("embed")
def embed_command(
    reviews: Annotated[list[str], typer.Option(help="File or glob of reviews; repeat for more.")],
    json_path: Annotated[Path, typer.Option("--json", dir_okay=False, help="File for the figures.")],
    column_map: MapOption = None,
    set_constants: SetOption = None,
    texts: Annotated[int, typer.Option(min=0, help="So many reviews, drawn with the seed; 0 takes all.")] = 2000,
    runs: Annotated[int, typer.Option(min=1, help="Timed passes over the texts; the median counts.")] = 3,
    config: ConfigOption = None,
) -> None:
    """Texts a second of the encoder, in each precision, beside sentence-transformers on the same reviews."""
    from jobs.bench.embed import bench_embed, print_embed_report, read_review_texts

    _check_folder(json_path)
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
    json_path.write_text(json.dumps(report.to_json(), indent=1))
    print_embed_report(report)


@bench_app.command("sample")
def sample_command(
    json_path: Annotated[Path, typer.Option("--json", dir_okay=False, help="File for the figures.")],
    products: Annotated[int, typer.Option(min=1)] = 2000,
    shoppers: Annotated[int, typer.Option(min=1)] = 3000,
    days: Annotated[int, typer.Option(min=1)] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the storefront.")] = 0,
    storefronts: Annotated[
        int, typer.Option(min=1, help="So many, with this seed and the following; figures are over all their shoppers.")
    ] = 1,
    models: ModelsOption = None,
    config: ConfigOption = None,
) -> None:
    """The same on a simulated storefront, whose shoppers' true tastes are known: how much of the ceiling is reached."""
    from jobs.bench.data import read_bench
    from jobs.bench.models import MODELS
    from jobs.bench.quality import bench_quality, pooled, print_report
    from jobs.ingest.sources.sample import make_sample

    _check_folder(json_path)
    wanted = _wanted(models, list(MODELS))
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
            reports.append(bench_quality(data, wanted, 1, progress, sample=folder))
    report = pooled(reports)
    json_path.write_text(json.dumps(report.to_json(), indent=1))
    print_report(report)


@bench_app.command("serve")
def serve_command(
    workspace: WorkspaceOption,
    json_path: Annotated[Path, typer.Option("--json", dir_okay=False, help="File for the figures.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="Of measuring each row.")] = 6.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns through all rows that these are spread over.")] = 3,
    overload: Annotated[
        bool, typer.Option("--overload/--no-overload", help="Also three times as much as is answered.")
    ] = True,
    api_key: Annotated[str | None, typer.Option(help="Where the workspace has keys, one that may read.")] = None,
    config: ConfigOption = None,
) -> None:
    """The service's own speed, at 1 and 16 connections, beside a no-op route of it and beside ALS on FastAPI."""
    from jobs.bench.serve import bench_serve
    from jobs.bench.serve_report import print_serve_report

    _check_folder(json_path)
    with shown_progress() as progress:
        report = bench_serve(local_workspace(workspace), config, api_key, seconds, rounds, progress, overload=overload)
    json_path.write_text(json.dumps(report.to_json(), indent=1))
    print_serve_report(report)


def _wanted(models: str | None, known: list[str]) -> list[str]:
    """What `--models` asks for; all unless it does."""
    from jobs.bench.peers.models import PEERS

    wanted = [name.strip() for name in models.split(",")] if models is not None else known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        remedy = "add --peers" if unknown[0] in PEERS else f"there are {', '.join(known)}"
        raise DataError(f"--models {unknown[0]}: no such model; {remedy}")
    return wanted


def _check_folder(json_path: Path) -> None:
    if not json_path.absolute().parent.is_dir():
        raise DataError(f"--json {json_path}: no such folder; make it first")
