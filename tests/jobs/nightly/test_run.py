"""A nightly run on a small sample storefront, from the lake to a release."""

import json
import shutil
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import NIGHT, PublishedShop
from sequence_data import assert_equal_models

import jobs.nightly.steps
from features.live.database import open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.live.item_changes import ItemChange, ItemChanges
from features.store.manifest import LivePosition
from features.store.release import load_release
from features.store.store import Store
from features.text.documents import browsing_texts
from features.workspace.hidden_reviews import hide_reviews
from jobs.embedding.embed import numbered_texts
from jobs.lake.lake import Lake
from jobs.lake.snapshot import newest_moment, read_shop
from jobs.nightly.publish import TrainedRelease
from jobs.nightly.run import Choice, Progress, Report, nightly
from jobs.nightly.steps import STEPS
from jobs.training.evaluate import evaluate
from jobs.training.fit import Inputs, fit_model, recommender, users_of, whiten
from jobs.training.warm_start import SequenceFits
from recsys import config
from recsys.batch_scoring import ranker_proposals
from recsys.config import Settings
from recsys.errors import DataError, StoreError
from recsys.fusion import Fusion
from recsys.model import Model
from recsys.query import Query
from recsys.ranking import Ranker, fit_ranker
from recsys.recommend import Recommender
from recsys.split import HeldOut
from recsys.users import Users
from recsys.workspace import Workspace


def test_the_release_holds_the_whole_shop(published_shop: PublishedShop) -> None:
    release = Store(published_shop.workspace).open()
    lake = Lake(published_shop.workspace.lake)
    items = release.table("items")
    assert items["item_id"].to_list() == lake.scan("catalog").collect()["item_id"].sort().to_list()
    assert release.manifest.rows["reviews"] == lake.n_rows("reviews")
    known = lake.scan("events").filter(pl.col("event_type") != "impression").collect()["user_id"]
    assert set(release.table("users", ["user_id"])["user_id"]) == set(known)
    for name, column in (("items", "vector"), ("items", "text_vector"), ("users", "vector"), ("reviews", "vector")):
        norms = np.linalg.norm(release.vectors(name, column), axis=1)
        assert ((np.abs(norms - 1) < 1e-3) | (norms == 0)).all(), (name, column)
    assert np.abs(np.linalg.norm(release.vectors("items", "vector"), axis=1) - 1).max() < 1e-3
    for name in ("items", "reviews"):  # no sentiment head has been adopted
        assert release.table(name, ["sentiment"])["sentiment"].is_null().all()


def test_the_report_says_what_was_done(published_shop: PublishedShop) -> None:
    report = published_shop.report
    assert report.counts["items"] == 80
    assert report.counts["texts embedded"] == report.counts["texts"] > 80
    assert list(report.seconds) == [step.name for step in STEPS]
    assert report.metrics["fused"]["all"]["n_users"] > 0
    assert not published_shop.workspace.training.exists() or not list(published_shop.workspace.training.iterdir())
    written = json.loads((published_shop.workspace.runs / report.release_id / "report.json").read_text())
    assert written["metrics"] == report.metrics
    assert Store(published_shop.workspace).open().manifest.metrics == report.metrics


def fail() -> None:
    raise StoreError("stop here")


def copy_of(shop: PublishedShop, folder: Path) -> Workspace:
    """The workspace after its run, without step results: the next run repeats every step."""
    workspace = Workspace(folder / "shop")
    shutil.copytree(shop.workspace.root, workspace.root, ignore=shutil.ignore_patterns("steps"))
    return workspace


@dataclass(frozen=True)
class SecondNight:
    """A run on the same lake, up to its publish; `fitted`: inputs, users and `as_of` of each fit."""

    workspace: Workspace
    trained: TrainedRelease
    fitted: list[tuple[Inputs, Users, datetime]]


@pytest.fixture(scope="module")
def second_night(published_shop: PublishedShop, tmp_path_factory: pytest.TempPathFactory) -> SecondNight:
    workspace = copy_of(published_shop, tmp_path_factory.mktemp("second"))
    held: list[TrainedRelease] = []
    fitted = []

    def fit_and_tell(inputs: Inputs, users: Users, whitening, fusion, ranker, as_of: datetime, *rest) -> Model:
        fitted.append((inputs, users, as_of))
        return fit_model(inputs, users, whitening, fusion, ranker, as_of, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.nightly.steps, "fit_model", fit_and_tell)
        patch.setattr(
            jobs.nightly.steps,
            "publish",
            lambda _store, _place, _id, trained, *_: held.append(trained) or fail(),
        )
        with pytest.raises(StoreError, match="stop here"):
            choice = Choice(since="publish")  # by itself it would not publish the same once more
            nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None, choice)
    return SecondNight(workspace, held[0], fitted)


def test_a_second_run_makes_the_same_models_and_measures_the_same(
    published_shop: PublishedShop, second_night: SecondNight
) -> None:
    again, before = second_night.trained, published_shop.trained
    assert again.metrics == before.metrics
    np.testing.assert_array_equal(again.model.linear.data, before.model.linear.data)
    np.testing.assert_allclose(again.model.factors.item_factors, before.model.factors.item_factors)
    assert_equal_models(again.model.sequence, before.model.sequence)
    assert Store(second_night.workspace).current_id() == published_shop.report.release_id


def test_an_equal_result_of_a_repeated_run_is_not_published_again(
    published_shop: PublishedShop, tmp_path: Path
) -> None:
    workspace = copy_of(published_shop, tmp_path)
    report = nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None)
    assert not report.published
    assert report.reused == []
    assert [release.release_id for release in Store(workspace).releases()] == [published_shop.report.release_id]


def test_a_model_is_made_of_what_was_known_at_its_moment(second_night: SecondNight) -> None:
    """The validation days are ahead of the first model, the last days ahead of the second, nothing of the third."""
    moments = [as_of for _, _, as_of in second_night.fitted]
    assert moments == sorted(set(moments)) and len(moments) == 3
    assert moments[-1] == second_night.trained.as_of
    for inputs, users, as_of in second_night.fitted:
        for known in (inputs.events, inputs.impressions, inputs.read):
            assert len(known) > 0
            assert known["timestamp"].max() < as_of
        assert users.entries.timestamps.max() < as_of.timestamp() * 1_000_000
        assert (users.entries.text_rows >= 0).any() and (users.entries.item_rows >= 0).any()


FIT = Settings.model_validate(
    {
        "factors": {"dim": 4, "iterations": 3},
        "sequence": {"dim": 8, "layers": 1, "epochs": 2},
        "ranking": {"min_targets": 5},
        "new_items": {"max_shoppers": 5},
    }
)


def test_nothing_after_as_of_is_used(published_shop: PublishedShop, tmp_path: Path) -> None:
    """The leak guard: garbage written into the future changes neither the models nor the shoppers of the past, nor what
    a ranker would be given of them."""
    lake = Lake(published_shop.workspace.lake)
    cut = newest_moment(lake) - timedelta(days=5)
    shop = read_shop(lake, newest_moment(lake))
    rng = np.random.default_rng(0)
    text = rng.normal(size=(len(shop.items), 8)).astype(np.float32)
    read, hashes = numbered_texts(browsing_texts(shop.searches))
    read_text = rng.normal(size=(len(hashes), 8)).astype(np.float32)
    whole = Inputs(shop.items, shop.events, shop.impressions, text, read, read_text)

    def garbage(frame: pl.DataFrame) -> pl.DataFrame:
        """Whatever comes after the cut is of somebody else, of something else, and there is twice as much of it."""
        later = frame.filter(pl.col("timestamp") >= cut)
        assert 10 < len(later) < len(frame)  # there is a future to poison, and a past
        mixed = later.with_columns(
            pl.exclude("timestamp", "user_id").shuffle(seed=0), pl.col("user_id").shuffle(seed=1)
        )
        return pl.concat([mixed, frame.filter(pl.col("timestamp") < cut), mixed])

    poisoned = replace(whole, events=garbage(shop.events), impressions=garbage(shop.impressions), read=garbage(read))
    models = []
    for number, inputs in enumerate((whole, poisoned)):
        known = inputs.before(cut)
        table, users = users_of(known, FIT)
        fit = SequenceFits(tmp_path / str(number), shop.items["item_id"], FIT).again("fit", None)
        model = fit_model(known, users, whiten(known, FIT), Fusion(), None, cut, FIT, fit)
        queries = [Query(user_id=user_id, asked_at=cut) for user_id in users.rows]
        served = recommender(known, model, users, FIT)
        models.append((table, users, model, ranker_proposals(served, queries), served.recommend(queries)))
    (table, users, model, proposals, slates), (table2, users2, model2, proposals2, slates2) = models
    assert table.equals(table2)
    assert users.rows == users2.rows
    np.testing.assert_array_equal(users.texts, users2.texts)
    np.testing.assert_array_equal(users.browsing, users2.browsing)
    for column in fields(users.entries):
        np.testing.assert_array_equal(getattr(users.entries, column.name), getattr(users2.entries, column.name))
    assert_equal_models(model.sequence, model2.sequence)
    np.testing.assert_array_equal(model.linear.toarray(), model2.linear.toarray())
    np.testing.assert_array_equal(model.factors.item_factors, model2.factors.item_factors)
    assert model.repeats == model2.repeats
    for name in ("popularity", "trend", "repeat_rates", "promise", "item_features"):
        np.testing.assert_array_equal(getattr(model, name), getattr(model2, name), err_msg=name)
    for (proposal, total), (other, total2) in zip(proposals, proposals2, strict=True):
        np.testing.assert_array_equal(proposal.item_rows, other.item_rows)
        np.testing.assert_array_equal(proposal.features, other.features)
        np.testing.assert_array_equal(total, total2)
    assert slates == slates2


class PowerCutError(Exception):
    """Ends a run in the middle."""


def test_a_killed_run_is_taken_up_at_its_last_epoch(published_shop: PublishedShop, tmp_path: Path) -> None:
    """The first run is killed after the first epoch of its second model; the next one trains the remaining epochs."""
    killed, undisturbed = (copy_of(published_shop, tmp_path / name) for name in ("killed", "undisturbed"))
    trained: list[int] = []
    # With fewer targets than these no fit is ended by what was best on validation, which hangs on the processor.
    all_epochs = published_shop.settings.model_copy(update={"fusion": config.FusionSettings(min_targets=100_000)})

    def until(n_epochs: int) -> Progress:
        def progress(step: str, done: int, total: int | None) -> None:
            if step == "train the sequence model":
                trained.append(done)
                if len(trained) == n_epochs:
                    raise PowerCutError

        return progress

    def night(workspace: Workspace, progress: Progress) -> Report:
        return nightly(workspace, all_epochs, None, NIGHT + timedelta(days=1), progress)

    with pytest.raises(PowerCutError):
        night(killed, until(3))
    assert trained == [1, 2, 1]
    trained.clear()
    report = night(killed, until(99))
    assert trained == [2, 1, 2]  # the first model is done, the second has an epoch to go, the third has both
    assert report.metrics == night(undisturbed, until(99)).metrics
    served, other = (Model.load(Store(place).open().model_dir) for place in (killed, undisturbed))
    assert_equal_models(served.sequence, other.sequence)
    assert not list(killed.training.glob("*"))  # nothing remains of it for a third run


def test_a_ranker_is_measured_published_and_served(
    published_shop: PublishedShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that puts first what has the fewest shoppers, learned from choices made up for it."""
    rankers = []

    def made_up(inputs: Inputs, model: Model, users: Users, *rest) -> Ranker:
        served = recommender(inputs, model, users, published_shop.settings)
        proposed = ranker_proposals(served, [Query(user_id=user_id) for user_id in users.rows])
        column = served.feature_names.index("shoppers")
        proposals = [rows for rows, _ in proposed]
        chosen = np.array([rows.item_rows[rows.features[:, column].argmin()] for rows in proposals])
        strong = config.RankingSettings(min_leaf=5, trees=30, learning_rate=0.3)
        rankers.append(fit_ranker(proposals, chosen, served.feature_names, strong, seed=0))
        return rankers[0]

    monkeypatch.setattr(jobs.nightly.steps, "learn_ranker", made_up)
    workspace = copy_of(published_shop, tmp_path)
    report = nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None)
    assert report.metrics["fused"] != published_shop.report.metrics["fused"]
    assert report.metrics["linear"] == published_shop.report.metrics["linear"]
    loaded = load_release(workspace).recommender
    assert loaded.model.ranker == rankers[0]
    buyers = [user_id for user_id in loaded.users.rows if loaded.users.history(user_id).weights.any()]
    popularity = loaded.model.popularity

    def shoppers_of_first(served: Recommender) -> float:
        slates = served.recommend([Query(user_id=user_id, count=1) for user_id in buyers])
        return float(np.mean([popularity[served.rows[slate.items[0].item_id]] for slate in slates]))

    assert shoppers_of_first(loaded) < 0.5 * shoppers_of_first(published_shop.trained.recommender)


def test_what_the_shop_hides_is_not_among_the_sentences_of_the_next_release(
    published_shop: PublishedShop, tmp_path: Path
) -> None:
    workspace = copy_of(published_shop, tmp_path)

    def quoted() -> set[str]:
        return set(load_release(workspace).recommender.facts.evidence.quotes["review_id"])

    hidden = min(quoted())
    hide_reviews(workspace.hidden_reviews, [hidden], NIGHT)
    nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None)
    assert quoted() and hidden not in quoted()


def test_evaluation_calls_a_list_that_holds_the_target_a_hit(published_shop: PublishedShop) -> None:
    recommender = published_shop.trained.recommender
    users = published_shop.trained.users["user_id"].to_list()[:20]
    slates = recommender.recommend([Query(user_id=user_id, asked_at=NIGHT) for user_id in users])
    second = pl.DataFrame({"user_id": users, "item_id": [slate.items[1].item_id for slate in slates]})
    columns = ("user_id", "asked_for", "event_type", "timestamp", "item_id", "text_row")
    held_out = HeldOut(second.clear(), second, NIGHT, since=pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
    fused = evaluate(recommender, held_out, np.zeros((0, 1)), max_users=100, seed=0)["fused"]["all"]
    assert fused["recall"] == 1.0
    assert fused["mrr"] == pytest.approx(0.5)


def test_every_source_that_speaks_is_measured(published_shop: PublishedShop) -> None:
    measured = published_shop.report.metrics.keys()
    sources = {source.name for source in published_shop.trained.recommender.sources}
    assert measured == {"fused", "popularity"} | sources - {"query_text"}
    assert "buy_again" in measured  # this shop's purchases come back


def test_an_empty_lake_says_what_to_do(published_shop: PublishedShop, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `recsys ingest` first"):
        nightly(Workspace(tmp_path / "shop"), published_shop.settings, None, NIGHT, lambda *_: None)


def test_an_as_of_before_everything_says_so(published_shop: PublishedShop) -> None:
    with pytest.raises(DataError, match="choose a later --as-of"):
        read_shop(Lake(published_shop.workspace.lake), NIGHT - timedelta(days=3650))


def test_a_failed_run_leaves_the_old_release_serving(published_shop: PublishedShop, tmp_path, monkeypatch) -> None:
    workspace = copy_of(published_shop, tmp_path)
    monkeypatch.setattr(jobs.nightly.steps, "evaluate", lambda *_: fail())
    with pytest.raises(StoreError, match="stop here"):
        nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None)
    assert Store(workspace).open().release_id == published_shop.report.release_id


def test_a_run_takes_the_events_and_item_changes_that_the_service_has_stored(
    published_shop: PublishedShop, tmp_path: Path
) -> None:
    workspace = copy_of(published_shop, tmp_path)
    database = open_live_database(workspace, "")
    bought = published_shop.trained.model.item_ids[0]
    at = NIGHT - timedelta(hours=1)
    EventLog(database).append([LoggedEvent("live-1", "first-visit", bought, "purchase", at)])
    ItemChanges(database).put([ItemChange(bought, {"price": 1.25})], at)
    before = Lake(workspace.lake).n_rows("events")
    held: list[TrainedRelease] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            jobs.nightly.steps,
            "publish",
            lambda _store, _place, _id, trained, *_: held.append(trained) or fail(),
        )
        with pytest.raises(StoreError, match="stop here"):
            nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None)
    assert Lake(workspace.lake).n_rows("events") == before + 1
    (trained,) = held
    assert trained.live == LivePosition(database.id, 1, 1)
    assert trained.shop.items.row(by_predicate=pl.col("item_id") == bought, named=True)["price"] == 1.25
    assert len(trained.recommender.users.history("first-visit")) == 1
    database.close()
