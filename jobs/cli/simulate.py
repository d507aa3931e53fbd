"""`recsys simulate`: shoppers with known tastes live with the running system."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.workspace.location import local_workspace
from jobs.cli.options import ConfigOption, WorkspaceOption, settings_of, shown_progress
from recsys.errors import DataError
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from jobs.simulation.loop import Progress, Shop
    from jobs.simulation.service import ShopService

# Commands import what they run: what reads the lake takes a second to import, and `recsys --help` shall not wait.


def simulate_command(
    workspace: WorkspaceOption,
    days: Annotated[int, typer.Option(min=1, help="Days in all; a rerun goes on at the first that is missing.")] = 14,
    against: Annotated[
        str | None, typer.Option(help="Address of a service of this workspace; by default one is started.")
    ] = None,
    shoppers: Annotated[int, typer.Option(min=1, help="That visit each day.")] = 400,
    count: Annotated[int, typer.Option(min=1, max=100, help="Products of a list.")] = 20,
    rest_after: Annotated[
        int, typer.Option(min=0, help="Leave out what a shopper has looked at so often without a click; 0: never.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of who comes and of their luck.")] = 0,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder of the figures; by default `simulation` there.")
    ] = None,
    products: Annotated[int, typer.Option(min=1, help="Of the storefront, where the workspace has none yet.")] = 1500,
    history_days: Annotated[
        int, typer.Option(min=1, help="Days of business before the first, where it has none yet.")
    ] = 10,
    api_key: Annotated[
        str | None, typer.Option(help="Where the workspace has keys, one that may read and write.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Let the sample storefront's shoppers live with the system: by day they act on its lists, each night retrains.

    Beside it, in the same visits with the same luck: its first release, popular and random products, and the ceiling.
    """
    from jobs.lake.lake import Lake
    from jobs.lake.snapshot import newest_moment
    from jobs.simulation.days import Days, World
    from jobs.simulation.loop import Shop, first_midnight, play, run_night
    from jobs.simulation.report import print_report, write_report

    place = local_workspace(workspace)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with shown_progress() as progress:
        if not Lake(place.lake).n_rows("events"):
            _open_shop(
                place, config, today - timedelta(days=days), products, 2 * shoppers, history_days, seed, progress
            )
        shop = Shop.of(place, config)
        kept = Days(out or place.root / "simulation")
        before = kept.world()
        start = before.start if before else first_midnight(newest_moment(Lake(place.lake)))
        if start + timedelta(days=days) > datetime.now(UTC):
            raise DataError(f"--days {days}: from {start:%Y-%m-%d} on they end after today; give fewer")
        world = World(start, seed, shoppers, count, rest_after)
        kept.begin(world)
        if not place.current.exists():
            run_night(shop, world.start, kept.folder / "night-000.log", progress)
        with _service(shop, against, api_key, progress) as service:
            for played in play(shop, kept, days, service, progress):
                write_report(kept.folder, world, played)
    played = kept.played()[:days]
    write_report(kept.folder, world, played)
    print_report(kept.folder, played)


def _service(
    shop: Shop, against: str | None, api_key: str | None, progress: Progress
) -> AbstractContextManager[ShopService]:
    from jobs.simulation.loop import own_service
    from jobs.simulation.service import ShopService, address_of

    if against is None:
        return own_service(shop, api_key, progress)
    return nullcontext(ShopService(address_of(against), api_key))


def _open_shop(
    place: Workspace,
    config: Path | None,
    end: datetime,
    n_products: int,
    n_shoppers: int,
    days: int,
    seed: int,
    progress: Progress,
) -> None:
    """A sample storefront whose last day was the one before the first that is played, in the lake."""
    from jobs.ingest.files import ingest
    from jobs.ingest.sources.sample import make_sample

    spec = make_sample(
        place.sample, n_products=n_products, n_shoppers=n_shoppers, days=days, seed=seed, end=end, progress=progress
    )
    ingest(place, spec, settings_of(place, config).ingest, datetime.now(UTC), progress)
