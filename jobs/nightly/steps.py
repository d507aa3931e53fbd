"""The steps of a nightly run.

Each is a function of the run so far and of the writer of its result; it returns counts for display.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import polars as pl

from features.encoder.encoder import encoder_id, load_encoder
from features.encoder.query_encoder import query_settings
from features.encoder.reading import READING, reading_of
from features.live.database import open_live_database
from features.live.event_log import EventLog
from features.live.item_changes import ItemChanges
from features.live.user_merges import UserMerges
from features.store.manifest import BEGINNING, new_release_id
from features.text.documents import browsing_texts, item_texts, review_texts
from features.text.quotes import review_quotes
from features.workspace.atomic_files import copy_files
from features.workspace.hidden_reviews import hidden_ids
from features.workspace.merged_users import add_merged_users
from jobs.embedding.embed import embed_texts, numbered_texts
from jobs.embedding.review_sentiment import review_sentiment
from jobs.ingest.event_log import ingest_log
from jobs.ingest.files import ingest_new
from jobs.ingest.item_changes import ingest_items
from jobs.nightly.context import MODEL, LearnedParts, NightlyRun
from jobs.nightly.live_retention import give_up
from jobs.nightly.publish import ReleaseInputs, TrainedRelease, publish, read_release_inputs
from jobs.nightly.reuse import TRIAL, ReusedRelease, align_items, find_reusable_release, trial_folder
from jobs.nightly.step_cache import Step, StepOutputWriter, digest_of, rules_of
from jobs.nightly.step_records import (
    ENCODER,
    INGESTED,
    LIVE,
    METRICS,
    MOMENTS,
    RELEASE,
    EncoderRecord,
    IngestedRows,
    ReleaseRecord,
)
from jobs.nightly.verdicts import check, gate, store_verdicts
from jobs.training.evaluate import evaluate
from jobs.training.fit import fit_model, learn_fusion, learn_ranker, recommender, users_of, whiten
from jobs.training.warm_start import AS_OF, read_warm_start
from recsys.errors import StoreError
from recsys.fusion import Fusion
from recsys.split import next_items

log = logging.getLogger(__name__)

Counts = dict[str, int]

MODELLING: Final = (
    *("interactions", "embed", "factors", "linear", "sequence", "fusion", "ranking"),
    *("recommend", "repeats", "new_items"),
)
"""Settings sections that affect a model, or the lists that are made with it."""

WORK_COUNTS: Final = frozenset({"texts embedded"})
"""Counts of work done, which are not shown again where a result is reused."""


def ingest(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Take new files of known sources, and new events and item changes of the service, into the lake."""
    settings = run.settings.ingest
    ingested = ingest_new(run.workspace, settings, run.now, events_url=run.settings.serve.events_url)
    tables = list(ingested.tables) if ingested else []
    counts = {"new rows": sum(table.n_new for table in tables)}
    live = BEGINNING
    database = open_live_database(run.workspace, run.settings.serve.events_url)
    if database.exists:
        try:
            taken = ingest_log(run.workspace, EventLog(database), settings, run.now)
            add_merged_users(run.workspace.lake, UserMerges(database).all())
            n_changed, item_version = ingest_items(run.workspace, ItemChanges(database), settings, run.now)
            n_given_up = give_up(run.workspace, database, run.settings, run.now)
        finally:
            database.close()
        counts |= {"old events deleted from the log": n_given_up} if n_given_up else {}
        counts |= {"events from the log": taken.events.n_new, "changed items": n_changed}
        tables.append(taken.events)
        live = replace(taken.position, item_version=item_version)
    LIVE.write(draft.folder, live)
    n_bad = sum(table.n_bad for table in tables)
    INGESTED.write(draft.folder, IngestedRows(sum(table.n_read for table in tables), n_bad, tuple(tables)))
    counts |= {"bad rows": n_bad} if n_bad else {}
    return counts


def read(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Read the shop, and find the times that separate training data from held-out data."""
    shop = run.shop
    MOMENTS.write(draft.folder, run.find_moments())
    robots = {"robots left out": len(shop.robots)} if len(shop.robots) else {}
    return robots | {
        "items": len(shop.items),
        "users": shop.events["user_id"].n_unique(),
        "events on items": len(shop.events),
        "searches and page texts": len(shop.searches),
        "reviews": len(shop.reviews),
        "items not in the catalogue": shop.n_unknown_items,
    }


def embed(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Embed every text that has no vector yet. There are two versions of the item texts: with all reviews, and with
    those from before the held-out days."""
    shop, settings = run.shop, run.settings
    query_settings(run.encoder)  # refuse a query model that does not fit now, not when it is served
    encoder = load_encoder(run.encoder)
    reviews_before = shop.reviews.filter(pl.col("timestamp") < run.moments.valid_cut)
    items = item_texts(shop.items, shop.reviews, settings.text, encoder.count_tokens)
    items_before = item_texts(shop.items, reviews_before, settings.text, encoder.count_tokens)
    reviews, browsing = review_texts(shop.reviews), browsing_texts(shop.searches)
    texts = pl.concat([frame.select("text_hash", "text") for frame in (items, items_before, reviews, browsing)])
    done = embed_texts(run.workspace, texts, run.encoder, settings.embed, _step_progress(run, "embed"))
    ENCODER.write(draft.folder, EncoderRecord(done.encoder_id, encoder.sha256))
    reading = reading_of(encoder, items["text"].to_list(), settings.embed.max_unread_share)
    READING.write(draft.folder, reading)
    log.info("texts_read unknown=%.3f equal=%.3f left_out=%s", reading.unknown, reading.equal, reading.left_out)
    read, hashes = numbered_texts(browsing)
    frames = {"items": items, "items_before": items_before, "reviews": reviews, "read": read}
    for name, frame in (frames | {"read_hashes": hashes.to_frame("text_hash")}).items():
        frame.write_parquet(draft.folder / f"{name}.parquet")
    return {"texts": done.n_texts, "texts embedded": done.n_new}


def quote(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """The sentiment of each review, and the sentences that may be quoted."""
    settings, reviews, progress = run.settings, run.frame("embed", "reviews"), _step_progress(run, "quotes")
    sentiment = review_sentiment(run.workspace, run.adopted, run.encoder, reviews, settings.embed, progress)
    with_sentiment = run.shop.reviews.join(sentiment, on="review_id", how="left", maintain_order="left")
    hidden = hidden_ids(run.workspace.hidden_reviews)
    quotes = review_quotes(with_sentiment, settings.evidence, settings.text.max_reviews_read, hidden)
    embed_texts(run.workspace, quotes, run.encoder, settings.embed, progress)
    sentiment.write_parquet(draft.folder / "sentiment.parquet")
    quotes.write_parquet(draft.folder / "quotes.parquet")
    return {"sentences to quote": len(quotes)}


def learn(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Fit the first model on the data before the validation days; on these, learn the source weights and the ranker.
    With little new data, reuse those of the served release."""
    served = None if "learn" in run.anew else _reusable_release(run, draft)
    learned = _learned(run, draft) if served is None else _reused_parts(run, served)
    learned.save(draft.folder)
    return {}


def _reused_parts(run: NightlyRun, served: ReusedRelease) -> LearnedParts:
    log.info("release_reused release_id=%s learned_at=%s", served.release_id, served.made_from.learned_at)
    first, final = align_items(run.shop.items["item_id"], served.first, served.final.item_ids), served.final
    return LearnedParts(first, final.whitening, final.fusion, final.ranker, served.made_from, served.release_id)


def _learned(run: NightlyRun, draft: StepOutputWriter) -> LearnedParts:
    settings, moments, before = run.settings, run.moments, run.inputs_before
    start = read_warm_start(
        run.store, run.embedded_with.id, before.items["item_id"], moments.valid_cut, settings.sequence
    )
    whitening = start.whitening if start else whiten(before, settings)
    known = before.before(moments.valid_cut)
    _, users = users_of(known, settings)
    held_out = run.held_out(moments.valid_cut, moments.test_cut)
    fit = run.fits.measured(held_out.targets, start)
    first = fit_model(known, users, whitening, Fusion(), None, moments.valid_cut, settings, fit)
    fusion = learn_fusion(known, first, users, held_out, settings)
    ranker = learn_ranker(known, replace(first, fusion=fusion), users, held_out, settings)
    made_from = ReleaseInputs("", _rules(run, draft), moments.as_of.isoformat(), len(run.shop.events))
    return LearnedParts(first.sequence, whitening, fusion, ranker, made_from)


def _rules(run: NightlyRun, draft: StepOutputWriter) -> str:
    """As `rules_of`, another without texts: a model that has learned without them cannot go on with them."""
    rules = rules_of(draft.inputs)
    return digest_of([rules, "without texts"]) if run.reading.left_out else rules


def _reusable_release(run: NightlyRun, draft: StepOutputWriter) -> ReusedRelease | None:
    return find_reusable_release(
        run.workspace,
        run.store,
        run.settings.nightly,
        rules=_rules(run, draft),
        encoder_id=run.embedded_with.id,
        n_events=len(run.shop.events),
        as_of=run.moments.as_of,
        test_cut=run.moments.test_cut,
    )


def evaluate_trial(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Fit the trial model on the data before the last days, and measure its lists on these."""
    settings, moments, learned = run.settings, run.moments, run.learned
    known = run.inputs_before.before(moments.test_cut)
    _, users = users_of(known, settings)
    fit = run.fits.again("evaluate", learned.sequence)
    if reused := run.reused:
        start = align_items(known.items["item_id"], reused.trial.sequence, reused.trial.item_ids)
        fit = run.fits.continue_training("evaluate", start)
    model = fit_model(known, users, learned.whitening, learned.fusion, learned.ranker, moments.test_cut, settings, fit)
    held_out = run.held_out(moments.test_cut, moments.as_of)
    held_out = replace(held_out, targets=next_items(held_out.targets))
    trial = recommender(known, model, users, settings)
    metrics = evaluate(trial, held_out, known.read_text, settings.evaluate.max_users, settings.seed)
    model.save(draft.folder / TRIAL)
    AS_OF.write(draft.folder / TRIAL, moments.test_cut)
    METRICS.write(draft.folder, metrics)
    return {}


def fit(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Fit the model of all data."""
    learned, (_, users) = run.learned, run.everybody
    fit_sequence = run.fits.again("fit", run.trial.sequence)
    if reused := run.reused:
        start = align_items(run.shop.items["item_id"], reused.final.sequence, reused.final.item_ids)
        fit_sequence = run.fits.continue_training("fit", start)
    model = fit_model(
        run.inputs,
        users,
        learned.whitening,
        learned.fusion,
        learned.ranker,
        run.moments.as_of,
        run.settings,
        fit_sequence,
    )
    model.save(draft.folder / MODEL)
    return {}


def publish_release(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Publish the release, unless the newest one has the same inputs; its trial model is stored beside its report."""
    release_id = None if "publish" in run.anew else published_from(run, draft.key)
    if release_id is None:
        settings = run.settings
        release_id = new_release_id(run.moments.as_of, run.now, settings.digest())
        _store_trial(run, release_id)
        store_verdicts(run, release_id)
        table, users = run.everybody
        trained = TrainedRelease(
            as_of=run.moments.as_of,
            shop=run.shop,
            model=run.model,
            recommender=recommender(run.inputs, run.model, users, settings),
            users=table,
            warm_start=(run.learned.sequence, run.moments.valid_cut),
            items_text=run.frame("embed", "items"),
            reviews_text=run.frame("embed", "reviews"),
            encoder_id=run.embedded_with.id,
            encoder_sha256=run.embedded_with.sha256,
            reading=run.reading,
            sentiment=run.frame("quotes", "sentiment"),
            quotes=run.frame("quotes", "quotes"),
            metrics=run.metrics,
            live=run.live,
            made_from=replace(run.learned.made_from, key=draft.key),
        )
        publish(run.store, run.workspace, release_id, trained, settings, run.now)
    RELEASE.write(draft.folder, ReleaseRecord(release_id))
    return {}


def published_from(run: NightlyRun, key: str) -> str | None:
    """The newest release, where it was built from the inputs of this key and is undamaged."""
    releases = run.store.releases()
    newest = releases[-1].release_id if releases else None
    inputs = read_release_inputs(run.workspace, newest) if newest else None
    if newest is None or inputs is None or inputs.key != key:
        return None
    try:
        run.store.open(newest)
    except StoreError as error:
        log.warning("newest_release_damaged release_id=%s error=%s action=publish it again", newest, error)
        return None
    return newest


def _store_trial(run: NightlyRun, release_id: str) -> None:
    """Store the trial model, which the next candidates are compared with, beside the release's report. Remove those of
    releases that are neither served nor new."""
    needed = {release_id, run.store.current_id()}
    for folder in run.workspace.runs.glob(f"*/{TRIAL}"):
        if folder.parent.name not in needed:
            shutil.rmtree(folder)
            if not any(folder.parent.iterdir()):  # of a killed run
                folder.parent.rmdir()
    copy_files(run.output_folder("evaluate") / TRIAL, trial_folder(run.workspace, release_id))


def _step_progress(run: NightlyRun, step: str) -> Callable[[int, int], None]:
    return lambda done, total: run.progress(step, done, total)


def _lake(run: NightlyRun) -> dict[str, str]:
    return {"lake": run.lake.digest(run.as_of), "as_of": run.as_of.isoformat()}


def _encoder(run: NightlyRun) -> dict[str, str]:
    return {"encoder": encoder_id(run.encoder)}


def _sentiment_head(run: NightlyRun) -> dict[str, str]:
    adopted = run.adopted
    head = adopted.files if adopted and adopted.head else {}
    hidden = sorted(hidden_ids(run.workspace.hidden_reviews))
    return {"hidden reviews": digest_of(hidden), "sentiment head": digest_of(head)}


STEPS: Final[tuple[Step[NightlyRun], ...]] = (
    Step("ingest", ingest, also=lambda run: {"run": run.run_id}),
    Step("read", read, settings=("evaluate",), also=_lake),
    Step("check", check, ("read",), ("checks",), lambda run: {"run": run.run_id}),
    Step("embed", embed, ("read",), ("text", "encoder", "embed"), _encoder),
    Step("quotes", quote, ("read", "embed"), ("text", "encoder", "embed", "evidence"), _sentiment_head),
    Step("learn", learn, ("read", "embed"), MODELLING),
    Step("evaluate", evaluate_trial, ("read", "embed", "learn"), (*MODELLING, "evaluate")),
    Step("fit", fit, ("read", "embed", "learn", "evaluate"), MODELLING),
    Step(
        "gate",
        gate,
        ("read", "embed", "learn", "evaluate", "fit"),
        ("gate", "fairness"),
        lambda run: {"served release": run.store.current_id() or "", "forced": str(run.forced)},
    ),
    Step(
        "publish",
        publish_release,
        ("read", "embed", "quotes", "learn", "evaluate", "fit"),
        ("complements",),
        lambda run: {"settings of the release": run.settings.digest()},
        lambda run, key: published_from(run, key) is not None,
    ),
)
"""In order. Every result is cached by its inputs (`jobs/nightly/step_cache.py`); `ingest` and `check` run in each run.
The release that a model continues from is no input: a result of the same data and rules is good enough. `publish` does
not read the verdicts of `check` and `gate`: they depend on the served release, which it changes."""
