"""`recsys simulate`: simulated shoppers with known tastes use the running service."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.workspace.location import local_workspace
from jobs.cli.options import ConfigOption, WorkspaceOption, settings_of, shown_progress
from recsys.errors import DataError
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from jobs.simulation.days import Days, World
    from jobs.simulation.loop import Progress, Shop
    from jobs.simulation.service import ShopService

# Imports inside the functions: polars and the lake take a second to import, and `recsys --help` must be fast.


def simulate_command(
    workspace: WorkspaceOption,
    days: Annotated[
        int, typer.Option(min=1, help="Total number of days; a rerun continues at the first missing day.")
    ] = 14,
    against: Annotated[
        str | None, typer.Option(help="URL of a running service on this workspace. Default: start one.")
    ] = None,
    shoppers: Annotated[int, typer.Option(min=1, help="Shoppers per day.")] = 400,
    count: Annotated[int, typer.Option(min=1, max=100, help="Items per list.")] = 20,
    rest_after: Annotated[
        int, typer.Option(min=0, help="Hide an item after N views without a click; 0: never hide.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for the results. Default: WORKSPACE/simulation.")
    ] = None,
    products: Annotated[
        int, typer.Option(min=1, help="Products of the sample storefront, if the workspace is empty.")
    ] = 1500,
    history_days: Annotated[
        int, typer.Option(min=1, help="Days of history before the first day, if the workspace is empty.")
    ] = 10,
    api_key: Annotated[
        str | None, typer.Option(help="API key with the read and write scopes, if the workspace has keys.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Simulate shoppers who use the running service: each day they act on its lists, then a nightly run retrains.

    Compares with the first release, popular items, random items and the best possible lists on the same visits.
    """
    from jobs.lake.lake import Lake
    from jobs.simulation.days import Days
    from jobs.simulation.loop import Shop

    place = local_workspace(workspace)
    with shown_progress() as progress:
        if not Lake(place.lake).n_rows("events"):
            today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            _ingest_sample(
                place, config, today - timedelta(days=days), products, 2 * shoppers, history_days, seed, progress
            )
        shop = Shop.of(place, config)
        simulated = Days(out or place.root / "simulation")
        world = _begin(shop, simulated, days, seed, shoppers, count, rest_after)
        _play(shop, simulated, world, days, against, api_key, progress)


def _begin(shop: Shop, simulated: Days, n_days: int, seed: int, shoppers: int, count: int, rest_after: int) -> World:
    """Save the settings of the simulation; a rerun starts at the first day of the saved ones.

    Raises DataError if the days end after today, or if the folder holds a simulation with other settings.
    """
    from jobs.lake.lake import Lake
    from jobs.lake.snapshot import newest_moment
    from jobs.simulation.days import World
    from jobs.simulation.loop import first_midnight

    saved = simulated.world()
    start = saved.start if saved else first_midnight(newest_moment(Lake(shop.workspace.lake)))
    if start + timedelta(days=n_days) > datetime.now(UTC):
        raise DataError(f"--days {n_days}: starting {start:%Y-%m-%d}, they end after today; choose fewer days")
    world = World(start, seed, shoppers, count, rest_after)
    simulated.begin(world)
    return world


def _play(
    shop: Shop, simulated: Days, world: World, n_days: int, against: str | None, api_key: str | None, progress: Progress
) -> None:
    """Simulate the missing days, write the report after each, and print the report at the end."""
    from jobs.simulation.loop import play, run_nightly
    from jobs.simulation.report import print_report, write_report

    if not shop.workspace.current.exists():
        run_nightly(shop, world.start, simulated.folder / "night-000.log", progress)
    with _service(shop, against, api_key, progress) as service:
        for played in play(shop, simulated, n_days, service, progress):
            write_report(simulated.folder, world, played)
    played = simulated.played()[:n_days]
    write_report(simulated.folder, world, played)
    print_report(simulated.folder, played)


def _service(
    shop: Shop, against: str | None, api_key: str | None, progress: Progress
) -> AbstractContextManager[ShopService]:
    from jobs.simulation.loop import started_service
    from jobs.simulation.service import ShopService, service_url

    if against is None:
        return started_service(shop, api_key, progress)
    return ShopService(service_url(against), api_key)


def _ingest_sample(
    place: Workspace,
    config: Path | None,
    end: datetime,
    n_products: int,
    n_shoppers: int,
    days: int,
    seed: int,
    progress: Progress,
) -> None:
    """Make a sample storefront whose history ends where the simulated days begin, and ingest it."""
    from jobs.ingest.files import ingest
    from jobs.ingest.sources.sample import make_sample

    spec = make_sample(
        place.sample, n_products=n_products, n_shoppers=n_shoppers, days=days, seed=seed, end=end, progress=progress
    )
    ingest(place, spec, settings_of(place, config).ingest, datetime.now(UTC), progress)
