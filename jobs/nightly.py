"""The nightly run: new files and events -> embed -> fit -> learn the fusion -> evaluate on the last days -> publish."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from time import monotonic
from typing import Any

import numpy as np
import polars as pl

from features.adoption import Adopted, in_use, located, read_adopted
from features.encoder import load_encoder
from features.erasure_receipt import note_release
from features.event_log import EventLog
from features.hidden_reviews import hidden_ids
from features.item_changes import ItemChanges
from features.live_database import open_live_database
from features.manifest import BEGINNING, LivePosition
from features.query_encoder import query_settings
from features.quotes import review_quotes
from features.store import Store
from features.text import browsing_texts, item_texts, review_texts
from jobs.embed import embed_texts, load_vectors, numbered_texts
from jobs.erase import erase_before_the_night
from jobs.evaluate import evaluate
from jobs.ingest import ingest_new
from jobs.item_ingest import ingest_items
from jobs.lake import Lake
from jobs.log_ingest import ingest_log
from jobs.publish import Made, publish
from jobs.review_sentiment import review_sentiment
from jobs.shop import Shop, newest_moment, read_shop
from jobs.train import Inputs, fit_model, learn_fusion, learn_ranker, recommender, users_of, whiten
from jobs.warm_start import SequenceFits, read_warm_start
from recsys.config import Settings
from recsys.fusion import Fusion
from recsys.repeats import Repeats, learn_repeats
from recsys.split import HeldOut, new_items, next_items, target_events, temporal_cut, visits
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, what is done of it and what there is to do."""


@dataclass
class Report:
    """What one night did, as written to `runs/RELEASE_ID/report.json`."""

    as_of: datetime
    release_id: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Embedded:
    """Texts with their vectors. `items_before`: (n_items, dim), with what was said before the held-out days alone;
    `read` and `read_text` are as in `jobs.train.Inputs`, `sentiment` and `quotes` as in `jobs.publish.Made`."""

    encoder_id: str
    encoder_sha256: str
    items_text: pl.DataFrame
    reviews_text: pl.DataFrame
    items: np.ndarray
    items_before: np.ndarray
    read: pl.DataFrame
    read_text: np.ndarray
    sentiment: pl.DataFrame
    quotes: pl.DataFrame


def nightly(
    workspace: Workspace, settings: Settings, as_of: datetime | None, now: datetime, progress: Progress
) -> Report:
    """Publish a release of all that happened before `as_of`, by default up to the newest event that is not after `now`.

    All its vectors are of one encoder: the one that was adopted in the place of the one in the settings, if any.
    Raises DataError where there is nothing to learn from, EncoderError where the encoder is missing or altered; the
    live release serves on whatever happens before the end.
    """
    erase_before_the_night(workspace, settings, now, progress)
    store = Store(workspace)
    with store.lease(now, settings.releases.lease_minutes):
        return _run(store, workspace, settings, as_of, now, progress)


def _run(
    store: Store, workspace: Workspace, settings: Settings, as_of: datetime | None, now: datetime, progress: Progress
) -> Report:
    report = Report(as_of or now)
    step = _Steps(report, progress)
    adopted = read_adopted(workspace, settings.encoder.model)
    settings = settings.model_copy(update={"encoder": in_use(settings.encoder, adopted)})
    with step("ingest"):
        ingested = ingest_new(workspace, settings.ingest, now)
        report.counts["new rows"] = sum(table.n_new for table in ingested.tables) if ingested else 0
        live = _ingest_live(workspace, settings, now, report)
    with step("read"):
        lake = Lake(workspace.lake)
        report.as_of = as_of or min(newest_moment(lake), now)
        shop = read_shop(lake, report.as_of)
        targets = target_events(shop.events.lazy()).collect(engine="in-memory")
        test_cut = temporal_cut(targets, report.as_of, settings.evaluate)
        valid_cut = temporal_cut(targets, test_cut, settings.evaluate)
        _count(report, shop)
    with step("embed"):
        embedded = _embed(
            workspace, shop, valid_cut, settings, adopted, report, lambda done, n: progress("embed", done, n)
        )
    inputs = Inputs(shop.items, shop.events, shop.impressions, embedded.items, embedded.read, embedded.read_text)
    before = replace(inputs, text=embedded.items_before)
    item_ids = inputs.items["item_id"]
    start = read_warm_start(store, embedded.encoder_id, item_ids, valid_cut, settings.sequence)
    whitening = start.whitening if start else whiten(before, settings)
    fits = SequenceFits(
        workspace.training,
        item_ids,
        settings,
        lambda epoch: progress("train the sequence model", epoch.number, epoch.of),
    )
    repeats, _ = learn_repeats(shop.events, item_ids, settings.repeats)
    with step("learn fusion"):
        known = before.before(valid_cut)
        _, users = users_of(known, settings)
        held_out = _held_out(before, targets, valid_cut, test_cut, repeats)
        fit = fits.measured(held_out.targets, start)
        first = fit_model(known, users, whitening, Fusion(), None, valid_cut, settings, fit)
        fusion = learn_fusion(known, first, users, held_out, settings)
        ranker = learn_ranker(known, replace(first, fusion=fusion), users, held_out, settings)
    with step("evaluate"):
        known = before.before(test_cut)
        _, users = users_of(known, settings)
        fit = fits.again("evaluate", first.sequence)
        model = fit_model(known, users, whitening, fusion, ranker, test_cut, settings, fit)
        held_out = _held_out(before, targets, test_cut, report.as_of, repeats)
        held_out = replace(held_out, targets=next_items(held_out.targets))
        trial = recommender(known, model, users, settings)
        report.metrics = evaluate(trial, held_out, known.read_text, settings.evaluate.max_users, settings.seed)
    with step("fit"):
        table, users = users_of(inputs, settings)
        fit = fits.again("fit", model.sequence)
        model = fit_model(inputs, users, whitening, fusion, ranker, report.as_of, settings, fit)
        made = Made(
            as_of=report.as_of,
            shop=shop,
            model=model,
            recommender=recommender(inputs, model, users, settings),
            users=table,
            warm_start=(first.sequence, valid_cut),
            items_text=embedded.items_text,
            reviews_text=embedded.reviews_text,
            encoder_id=embedded.encoder_id,
            encoder_sha256=embedded.encoder_sha256,
            sentiment=embedded.sentiment,
            quotes=embedded.quotes,
            metrics=report.metrics,
            live=live,
        )
    with step("publish"):
        manifest = publish(store, workspace, made, settings, now)
    report.release_id = manifest.release_id
    note_release(workspace, manifest.release_id)
    fits.forget()
    _write(workspace, report)
    return report


def _ingest_live(workspace: Workspace, settings: Settings, now: datetime, report: Report) -> LivePosition:
    """What the service has stored since the last night, taken into the lake; how far that goes."""
    database = open_live_database(workspace, settings.serve.events_url)
    if not database.exists:
        return BEGINNING
    try:
        taken = ingest_log(workspace, EventLog(database), settings.ingest, now)
        n_changed, item_version = ingest_items(workspace, ItemChanges(database), settings.ingest, now)
    finally:
        database.close()
    report.counts |= {"events from the log": taken.events.n_new, "changed items": n_changed}
    return replace(taken.position, item_version=item_version)


class _Steps:
    """Times each step and tells the progress of the run."""

    def __init__(self, report: Report, progress: Progress) -> None:
        self._report = report
        self._progress = progress

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._progress(name, 0, 1)
        started = monotonic()
        yield
        self._report.seconds[name] = round(monotonic() - started, 2)
        log.info("step done step=%s seconds=%.1f", name, self._report.seconds[name])
        self._progress(name, 1, 1)


def _embed(
    workspace: Workspace,
    shop: Shop,
    before: datetime,
    settings: Settings,
    adopted: Adopted | None,
    report: Report,
    progress: Callable[[int, int], None],
) -> _Embedded:
    named = located(workspace, settings.encoder)
    query_settings(named)  # a reader of queries that does not fit is refused now, not when it is served
    encoder = load_encoder(named)
    said_before = shop.reviews.filter(pl.col("timestamp") < before)
    items = item_texts(shop.items, shop.reviews, settings.text, encoder.count_tokens)
    items_before = item_texts(shop.items, said_before, settings.text, encoder.count_tokens)
    reviews, browsing = review_texts(shop.reviews), browsing_texts(shop.searches)
    texts = pl.concat([frame.select("text_hash", "text") for frame in (items, items_before, reviews, browsing)])
    done = embed_texts(workspace, texts, named, settings.embed, progress)
    report.counts |= {"texts": done.n_texts, "texts embedded": done.n_new}

    def vectors(hashes: pl.Series) -> np.ndarray:
        return load_vectors(workspace, done.encoder_id, hashes)

    sentiment = review_sentiment(workspace, adopted, named, reviews, settings.embed, progress)
    felt = shop.reviews.join(sentiment, on="review_id", how="left", maintain_order="left")
    quotes = review_quotes(
        felt, settings.evidence, settings.text.max_reviews_read, hidden_ids(workspace.hidden_reviews)
    )
    report.counts["sentences to quote"] = len(quotes)
    embed_texts(workspace, quotes, named, settings.embed, progress)
    read, distinct = numbered_texts(browsing)
    return _Embedded(
        encoder_id=done.encoder_id,
        encoder_sha256=encoder.sha256,
        items_text=items,
        reviews_text=reviews,
        items=vectors(items["text_hash"]),
        items_before=vectors(items_before["text_hash"]),
        read=read,
        read_text=vectors(distinct),
        sentiment=sentiment,
        quotes=quotes,
    )


def _held_out(inputs: Inputs, targets: pl.DataFrame, start: datetime, end: datetime, repeats: Repeats) -> HeldOut:
    """What the shoppers chose in that time, and what they had just done then; where what was bought comes back, all
    they chose, and nothing of what they had just done, which the item itself would be among."""
    wanted = new_items(targets, inputs.events, inputs.items["item_id"], start, end, repeats.allowed)
    since = pl.concat([inputs.events, inputs.read], how="diagonal").filter(pl.col("timestamp") >= start)
    since = visits(since.sort("timestamp"), wanted.clear() if repeats.allowed else wanted)
    return HeldOut(inputs.before(start).events, wanted, start, since)


def _count(report: Report, shop: Shop) -> None:
    report.counts |= {
        "items": len(shop.items),
        "users": shop.events["user_id"].n_unique(),
        "events on items": len(shop.events),
        "searches and page texts": len(shop.searches),
        "reviews": len(shop.reviews),
        "items not in the catalogue": shop.n_unknown_items,
    }


def _write(workspace: Workspace, report: Report) -> None:
    folder = workspace.runs / report.release_id
    folder.mkdir(parents=True, exist_ok=True)
    content = asdict(report) | {"as_of": report.as_of.isoformat()}
    (folder / "report.json").write_text(json.dumps(content, indent=2))
