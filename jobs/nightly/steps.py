"""The steps of a night: what each reads, makes and writes down.

Each is a function of the night so far and of where its result goes; it returns counts to be told.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Final

import polars as pl

from features.encoder.encoder import encoder_id, load_encoder
from features.encoder.query_encoder import query_settings
from features.encoder.selection import located
from features.live.database import open_live_database
from features.live.event_log import EventLog
from features.live.item_changes import ItemChanges
from features.store.manifest import BEGINNING, new_release_id
from features.text.documents import browsing_texts, item_texts, review_texts
from features.text.quotes import review_quotes
from features.workspace.atomic_files import copy_files
from features.workspace.hidden_reviews import hidden_ids
from jobs.embedding.embed import embed_texts, numbered_texts
from jobs.embedding.review_sentiment import review_sentiment
from jobs.ingest.event_log import ingest_log
from jobs.ingest.files import ingest_new
from jobs.ingest.item_changes import ingest_items
from jobs.nightly.context import (
    ARRIVALS_FILE,
    ENCODER_FILE,
    LIVE_FILE,
    METRICS_FILE,
    MODEL,
    MOMENTS_FILE,
    LearnedParts,
    NightlyRun,
)
from jobs.nightly.publish import ReleaseInputs, TrainedRelease, made_from, publish
from jobs.nightly.reuse import TRIAL, ReusedRelease, align_items, find_base, trial_folder
from jobs.nightly.step_cache import Step, StepOutputWriter, digest_of, rules_of
from jobs.nightly.verdicts import check, gate, keep_verdicts
from jobs.training.evaluate import evaluate
from jobs.training.fit import fit_model, learn_fusion, learn_ranker, recommender, users_of, whiten
from jobs.training.warm_start import AS_OF_FILE, read_warm_start
from recsys.errors import StoreError
from recsys.fusion import Fusion
from recsys.split import next_items

log = logging.getLogger(__name__)

Counts = dict[str, int]

MODELLING: Final = (
    *("interactions", "embed", "factors", "linear", "sequence", "fusion", "ranking"),
    *("recommend", "repeats", "new_items"),
)
"""Sections that shape a model, or the lists that are made with it."""

RELEASE_FILE: Final = "release.json"

DONE_NOW: Final = frozenset({"texts embedded"})
"""Counts of what was done: not told again where a result is reused."""


def ingest(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """New files of remembered sources, and what the service has stored since the last night, go into the lake."""
    settings = night.settings.ingest
    ingested = ingest_new(night.workspace, settings, night.now)
    tables = list(ingested.tables) if ingested else []
    counts = {"new rows": sum(table.n_new for table in tables)}
    live = BEGINNING
    database = open_live_database(night.workspace, night.settings.serve.events_url)
    if database.exists:
        try:
            taken = ingest_log(night.workspace, EventLog(database), settings, night.now)
            n_changed, item_version = ingest_items(night.workspace, ItemChanges(database), settings, night.now)
        finally:
            database.close()
        counts |= {"events from the log": taken.events.n_new, "changed items": n_changed}
        tables.append(taken.events)
        live = replace(taken.position, item_version=item_version)
    (draft.folder / LIVE_FILE).write_text(json.dumps(asdict(live)))
    arrivals: dict[str, Any] = {name: sum(getattr(table, name) for table in tables) for name in ("n_read", "n_bad")}
    arrivals["tables"] = [asdict(table) for table in tables]
    (draft.folder / ARRIVALS_FILE).write_text(json.dumps(arrivals))
    counts |= {"rows that broke a rule": arrivals["n_bad"]} if arrivals["n_bad"] else {}
    return counts


def read(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """The shop as it stands, and the moments that part what is learned from what is measured."""
    shop = night.shop
    night.find_moments().save(draft.folder / MOMENTS_FILE)
    return {
        "items": len(shop.items),
        "users": shop.events["user_id"].n_unique(),
        "events on items": len(shop.events),
        "searches and page texts": len(shop.searches),
        "reviews": len(shop.reviews),
        "items not in the catalogue": shop.n_unknown_items,
    }


def embed(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Every text that has no vector yet gets one. Item texts are made twice: the second time of what was said before
    the held-out days."""
    shop, settings = night.shop, night.settings
    named = located(night.workspace, settings.encoder)
    query_settings(named)  # a reader of queries that does not fit is refused now, not when it is served
    encoder = load_encoder(named)
    said_before = shop.reviews.filter(pl.col("timestamp") < night.moments.valid_cut)
    items = item_texts(shop.items, shop.reviews, settings.text, encoder.count_tokens)
    items_before = item_texts(shop.items, said_before, settings.text, encoder.count_tokens)
    reviews, browsing = review_texts(shop.reviews), browsing_texts(shop.searches)
    texts = pl.concat([frame.select("text_hash", "text") for frame in (items, items_before, reviews, browsing)])
    done = embed_texts(night.workspace, texts, named, settings.embed, _told(night, "embed"))
    (draft.folder / ENCODER_FILE).write_text(json.dumps({"id": done.encoder_id, "sha256": encoder.sha256}))
    read, hashes = numbered_texts(browsing)
    made = {"items": items, "items_before": items_before, "reviews": reviews, "read": read}
    for name, frame in (made | {"read_hashes": hashes.to_frame("text_hash")}).items():
        frame.write_parquet(draft.folder / f"{name}.parquet")
    return {"texts": done.n_texts, "texts embedded": done.n_new}


def quote(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """How each review feels, and the sentences that may be quoted."""
    settings, reviews, told = night.settings, night.frame("embed", "reviews"), _told(night, "quotes")
    named = located(night.workspace, settings.encoder)
    sentiment = review_sentiment(night.workspace, night.adopted, named, reviews, settings.embed, told)
    felt = night.shop.reviews.join(sentiment, on="review_id", how="left", maintain_order="left")
    hidden = hidden_ids(night.workspace.hidden_reviews)
    quotes = review_quotes(felt, settings.evidence, settings.text.max_reviews_read, hidden)
    embed_texts(night.workspace, quotes, named, settings.embed, told)
    sentiment.write_parquet(draft.folder / "sentiment.parquet")
    quotes.write_parquet(draft.folder / "quotes.parquet")
    return {"sentences to quote": len(quotes)}


def learn(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """The first model, of all before the validation days; on these the weights of the sources, and the ranker. Where
    little is new, those of the served release."""
    base = None if "learn" in night.anew else _base(night, draft)
    learned = _learned(night, draft) if base is None else _taken_over(night, base)
    learned.save(draft.folder)
    return {}


def _taken_over(night: NightlyRun, base: ReusedRelease) -> LearnedParts:
    log.info("taken over release_id=%s learned_at=%s", base.release_id, base.made_from.learned_at)
    first, final = align_items(night.shop.items["item_id"], base.first, base.final.item_ids), base.final
    return LearnedParts(first, final.whitening, final.fusion, final.ranker, base.made_from, base.release_id)


def _learned(night: NightlyRun, draft: StepOutputWriter) -> LearnedParts:
    settings, moments, before = night.settings, night.moments, night.inputs_before
    start = read_warm_start(
        night.store, night.encoder["id"], before.items["item_id"], moments.valid_cut, settings.sequence
    )
    whitening = start.whitening if start else whiten(before, settings)
    known = before.before(moments.valid_cut)
    _, users = users_of(known, settings)
    held_out = night.held_out(moments.valid_cut, moments.test_cut)
    fit = night.fits.measured(held_out.targets, start)
    first = fit_model(known, users, whitening, Fusion(), None, moments.valid_cut, settings, fit)
    fusion = learn_fusion(known, first, users, held_out, settings)
    ranker = learn_ranker(known, replace(first, fusion=fusion), users, held_out, settings)
    made_from = ReleaseInputs("", rules_of(draft.inputs), moments.as_of.isoformat(), len(night.shop.events))
    return LearnedParts(first.sequence, whitening, fusion, ranker, made_from)


def _base(night: NightlyRun, draft: StepOutputWriter) -> ReusedRelease | None:
    return find_base(
        night.workspace,
        night.store,
        night.settings.nightly,
        rules=rules_of(draft.inputs),
        encoder_id=night.encoder["id"],
        n_events=len(night.shop.events),
        as_of=night.moments.as_of,
        test_cut=night.moments.test_cut,
    )


def evaluate_trial(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """The trial model, of all before the last days, and how good its lists are on these."""
    settings, moments, learned = night.settings, night.moments, night.learned
    known = night.inputs_before.before(moments.test_cut)
    _, users = users_of(known, settings)
    fit = night.fits.again("evaluate", learned.sequence)
    if base := night.base:
        fit = night.fits.touched_up(
            "evaluate", align_items(known.items["item_id"], base.trial.sequence, base.trial.item_ids)
        )
    model = fit_model(known, users, learned.whitening, learned.fusion, learned.ranker, moments.test_cut, settings, fit)
    held_out = night.held_out(moments.test_cut, moments.as_of)
    held_out = replace(held_out, targets=next_items(held_out.targets))
    trial = recommender(known, model, users, settings)
    metrics = evaluate(trial, held_out, known.read_text, settings.evaluate.max_users, settings.seed)
    model.save(draft.folder / TRIAL)
    (draft.folder / TRIAL / AS_OF_FILE).write_text(json.dumps(moments.test_cut.isoformat()))
    (draft.folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2))
    return {}


def fit(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """The model of everything."""
    learned, (_, users) = night.learned, night.everybody
    fit_sequence = night.fits.again("fit", night.trial.sequence)
    if base := night.base:
        start = align_items(night.shop.items["item_id"], base.final.sequence, base.final.item_ids)
        fit_sequence = night.fits.touched_up("fit", start)
    model = fit_model(
        night.inputs,
        users,
        learned.whitening,
        learned.fusion,
        learned.ranker,
        night.moments.as_of,
        night.settings,
        fit_sequence,
    )
    model.save(draft.folder / MODEL)
    return {}


def publish_release(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """The release, unless the newest one was made from the very same; its trial model stays beside its report."""
    release_id = None if "publish" in night.anew else published_from(night, draft.key)
    if release_id is None:
        settings = night.settings
        release_id = new_release_id(night.moments.as_of, night.now, settings.digest())
        _keep_trial(night, release_id)
        keep_verdicts(night, release_id)
        table, users = night.everybody
        made = TrainedRelease(
            as_of=night.moments.as_of,
            shop=night.shop,
            model=night.model,
            recommender=recommender(night.inputs, night.model, users, settings),
            users=table,
            warm_start=(night.learned.sequence, night.moments.valid_cut),
            items_text=night.frame("embed", "items"),
            reviews_text=night.frame("embed", "reviews"),
            encoder_id=night.encoder["id"],
            encoder_sha256=night.encoder["sha256"],
            sentiment=night.frame("quotes", "sentiment"),
            quotes=night.frame("quotes", "quotes"),
            metrics=night.metrics,
            live=night.live,
            made_from=replace(night.learned.made_from, key=draft.key),
        )
        publish(night.store, night.workspace, made, settings, night.now)
    (draft.folder / RELEASE_FILE).write_text(json.dumps({"release_id": release_id}))
    return {}


def published_from(night: NightlyRun, key: str) -> str | None:
    """The newest release, where it was made from what this key stands for and is whole."""
    releases = night.store.releases()
    newest = releases[-1].release_id if releases else None
    told = made_from(night.workspace, newest) if newest else None
    if newest is None or told is None or told.key != key:
        return None
    try:
        night.store.open(newest)
    except StoreError as error:
        log.warning("newest release damaged, published again release_id=%s error=%s", newest, error)
        return None
    return newest


def _keep_trial(night: NightlyRun, release_id: str) -> None:
    """Beside the report of the release: what the next candidates are compared with. Those of releases that are neither
    served nor new go."""
    kept = {release_id, night.store.current_id()}
    for folder in night.workspace.runs.glob(f"*/{TRIAL}"):
        if folder.parent.name not in kept:
            shutil.rmtree(folder)
            if not any(folder.parent.iterdir()):  # of a publish that was killed
                folder.parent.rmdir()
    copy_files(night.made("evaluate") / TRIAL, trial_folder(night.workspace, release_id))


def _told(night: NightlyRun, step: str) -> Callable[[int, int], None]:
    return lambda done, total: night.progress(step, done, total)


def _lake(night: NightlyRun) -> dict[str, str]:
    return {"lake": night.lake.digest(night.as_of), "as_of": night.as_of.isoformat()}


def _encoder(night: NightlyRun) -> dict[str, str]:
    return {"encoder": encoder_id(located(night.workspace, night.settings.encoder))}


def _feelings(night: NightlyRun) -> dict[str, str]:
    adopted = night.adopted
    head = adopted.files if adopted and adopted.head else {}
    hidden = sorted(hidden_ids(night.workspace.hidden_reviews))
    return {"hidden reviews": digest_of(hidden), "sentiment head": digest_of(head)}


NIGHT_STEPS: Final[tuple[Step[NightlyRun], ...]] = (
    Step("ingest", ingest, also=lambda night: {"run": night.run_id}),
    Step("read", read, settings=("evaluate",), also=_lake),
    Step("check", check, ("read",), ("checks",), lambda night: {"run": night.run_id}),
    Step("embed", embed, ("read",), ("text", "encoder", "embed"), _encoder),
    Step("quotes", quote, ("read", "embed"), ("text", "encoder", "embed", "evidence"), _feelings),
    Step("learn", learn, ("read", "embed"), MODELLING),
    Step("evaluate", evaluate_trial, ("read", "embed", "learn"), (*MODELLING, "evaluate")),
    Step("fit", fit, ("read", "embed", "learn", "evaluate"), MODELLING),
    Step(
        "gate",
        gate,
        ("read", "embed", "learn", "evaluate", "fit"),
        ("gate", "fairness"),
        lambda night: {"served release": night.store.current_id() or "", "forced": str(night.forced)},
    ),
    Step(
        "publish",
        publish_release,
        ("read", "embed", "quotes", "learn", "evaluate", "fit"),
        ("complements",),
        lambda night: {"settings of the release": night.settings.digest()},
        lambda night, key: published_from(night, key) is not None,
    ),
)
"""In order. Every result is kept by what it was made from (`jobs/nightly/step_cache.py`); `ingest` and `check` are
done anew in each run. Which release a model goes on from is no input: what was once made of the same data by the same
rules is good enough. Nor does `publish` read what `check` and `gate` say: they hang on the served release, which it
changes."""
