"""The options of `recsys ingest` that say how files are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.ingest.readers.remote import is_url
from jobs.ingest.sources.spec import SourceOptions, SourceSpec, conditions, rating_scale, timezone, value_maps
from recsys.errors import DataError

FilesArgument = Annotated[
    list[str], typer.Argument(metavar="FILE…", help="Files, globs or URLs; formats are recognised by content.")
]
ReviewsOption = Annotated[list[str] | None, typer.Option(help="File, glob or URL of reviews; repeat for several.")]
CatalogOption = Annotated[list[str] | None, typer.Option(help="File, glob or URL of products; repeat for several.")]
EventsOption = Annotated[list[str] | None, typer.Option(help="File, glob or URL of events; repeat for several.")]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="Rename a column: table.column=source_column, e.g. events.item_id=asin."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a constant column: table.column=value, e.g. events.event_type=purchase."),
]
ValueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--value",
        help="Map a value: table.column:source_value=value, e.g. events.event_type:addtocart=cart; an empty value "
        "leaves the rows out.",
    ),
]
WhereOption = Annotated[
    list[str] | None, typer.Option("--where", help="Take only rows with COLUMN=value, e.g. STATUS=completed.")
]
ScaleOption = Annotated[
    str | None, typer.Option("--rating-scale", help="Scale of the ratings if not 1 to 5: 10 (1 to 10), 0-100.")
]
DateOrderOption = Annotated[
    Literal["dmy", "mdy"] | None, typer.Option("--date-order", help="Order in dates such as 3/4/2024.")
]
ColumnsOption = Annotated[
    str | None, typer.Option("--columns", help="Column names of files without a header, separated by commas.")
]
SheetOption = Annotated[str, typer.Option("--sheet", help="Sheet of an Excel file.")]
KeepIdsOption = Annotated[
    bool, typer.Option("--keep-user-ids", help="Store e-mail addresses as user ids instead of keyed hashes of them.")
]
ItemsOption = Annotated[
    Literal["product", "variant"], typer.Option("--items", help="One item per product, or per variant (SKU).")
]
FullOption = Annotated[
    bool, typer.Option("--full", help="The files are the whole catalogue: products not in them become unavailable.")
]
FromItemsOption = Annotated[
    bool, typer.Option("--catalog-from-items", help="Take the catalogue from the items of the events (GA4 and alike).")
]
TimezoneOption = Annotated[
    str, typer.Option("--timezone", help="Time zone of times without an offset, such as Asia/Tokyo. Default: UTC.")
]
StoreViewOption = Annotated[str, typer.Option("--store-view", help="Magento: store view whose texts to take.")]
UserOption = Annotated[
    Literal["any", "pseudo", "login"],
    typer.Option("--user", help="Shopper ids: login where known, else browser (any); browser only; login only."),
]
FirstDayOption = Annotated[
    str, typer.Option("--first-day", help="Day (YYYY-MM-DD) on which histories without dates begin (Instacart).")
]


def source_options(
    values: Sequence[str] | None = None,
    where: Sequence[str] | None = None,
    scale: str | None = None,
    date_order: Literal["dmy", "mdy"] | None = None,
    columns: str | None = None,
    *,
    zone: str = "",
    sheet: str = "",
    keep_user_ids: bool = False,
    items: Literal["product", "variant"] = "product",
    full: bool = False,
    catalog_from_items: bool = False,
    store_view: str = "",
    user: Literal["any", "pseudo", "login"] = "any",
    first_day: str = "",
) -> SourceOptions:
    """What was given on the command line. Raises DataError for an option of the wrong form."""
    return SourceOptions(
        values=value_maps(values or ()),
        where=conditions(where or ()),
        rating_scale=rating_scale(scale) if scale else None,
        date_order=date_order,
        timezone=timezone(zone),
        columns=tuple(name.strip() for name in columns.split(",")) if columns else (),
        sheet=sheet,
        keep_user_ids=keep_user_ids,
        items=items,
        full=full,
        catalog_from_items=catalog_from_items,
        store_view=store_view,
        user=user,
        first_day=first_day,
    )


def absolute_paths(**given: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Table -> absolute paths of the files given for it. Raises DataError if no file is given for any table."""
    paths = {
        table: tuple(absolute_path(pattern) for pattern in patterns) for table, patterns in given.items() if patterns
    }
    if not paths:
        raise DataError(f"no input files; pass at least one of {', '.join(f'--{table} FILE' for table in given)}")
    return paths


def absolute_path(pattern: str) -> str:
    """URLs as they are."""
    return pattern if is_url(pattern) else str(Path(pattern).expanduser().absolute())


def option_words(spec: SourceSpec) -> list[str]:
    """The options of a spec as they are typed on the command line."""
    options = spec.options
    words = [word for target, value in spec.constants.items() for word in ("--set", f"{target}={value}")]
    for target, values in options.values.items():
        words += [word for source, ours in values.items() for word in ("--value", f"{target}:{source}={ours}")]
    for column, value in options.where:
        words += ["--where", f"{column}={value}"]
    if options.rating_scale:
        words += ["--rating-scale", "{:g}-{:g}".format(*options.rating_scale)]
    texts = {
        "--date-order": options.date_order,
        "--timezone": options.timezone,
        "--columns": ",".join(options.columns),
        "--sheet": options.sheet,
        "--items": options.items if options.items != "product" else "",
        "--store-view": options.store_view,
        "--user": options.user if options.user != "any" else "",
        "--first-day": options.first_day,
    }
    flags = {
        "--keep-user-ids": options.keep_user_ids,
        "--full": options.full,
        "--catalog-from-items": options.catalog_from_items,
    }
    words += [word for option, text in texts.items() if text for word in (option, text)]
    return words + [option for option, is_set in flags.items() if is_set]
