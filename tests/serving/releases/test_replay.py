import asyncio
from collections.abc import Iterator

import pytest
from fake_releases import Shelf

from recsys.errors import StoreError
from serving.releases.active import ActiveRelease
from serving.releases.replay import MAX_RELEASES, PastReleases, ReleaseGoneError


@pytest.fixture
def past(shelf: Shelf, live: ActiveRelease) -> Iterator[PastReleases]:
    """Beside the live release r1."""
    releases = PastReleases(shelf.source, lambda: [live], text_cache=100)
    yield releases
    releases.close()


def get(past: PastReleases, *release_ids: str) -> list[ActiveRelease]:
    async def run() -> list[ActiveRelease]:
        groups = await asyncio.gather(*(past.get(release_id) for release_id in release_ids))
        return [live for group in groups for live in group]

    return asyncio.run(run())


def test_a_release_is_loaded_once_for_all_who_ask(shelf: Shelf, past: PastReleases) -> None:
    shelf.publish("r0")
    first, second = get(past, "r0", "r0")
    assert first is second
    assert first.release is shelf.releases["r0"]
    assert shelf.loads == ["r0"]


def test_what_is_live_is_not_loaded(shelf: Shelf, past: PastReleases, live: ActiveRelease) -> None:
    assert get(past, "r1") == [live]
    assert shelf.loads == []


def test_the_last_few_requested_stay(shelf: Shelf, past: PastReleases) -> None:
    names = [f"a{n}" for n in range(MAX_RELEASES + 1)]
    for name in names:
        shelf.publish(name)
    get(past, *names[:MAX_RELEASES], names[0], names[MAX_RELEASES])
    shelf.loads.clear()
    for name in (names[0], names[MAX_RELEASES], names[1]):
        get(past, name)
    assert shelf.loads == [names[1]]


def test_texts_are_read_by_what_is_live_where_the_encoder_is_the_same(
    shelf: Shelf, past: PastReleases, live: ActiveRelease
) -> None:
    shelf.publish("r0")
    shelf.publish("other", max_tokens=64)
    same, other = get(past, "r0", "other")
    assert same.texts is live.texts
    assert other.texts is not live.texts
    assert [settings.max_tokens for settings in shelf.encoders] == [64]


def test_one_that_was_collected_is_gone_and_a_damaged_one_is_named(shelf: Shelf, past: PastReleases) -> None:
    shelf.damaged.add("r2")
    with pytest.raises(ReleaseGoneError, match="release r0 has been deleted"):
        get(past, "r0")
    with pytest.raises(StoreError, match="release r2: damaged") as raised:
        get(past, "r2")
    assert not isinstance(raised.value, ReleaseGoneError)
    shelf.publish("r2")
    assert get(past, "r2")[0].release is shelf.releases["r2"]


def test_one_that_is_collected_while_it_loads_is_gone(
    shelf: Shelf, past: PastReleases, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.damaged.add("r2")
    load = Shelf._load

    def collected(shelf: Shelf, release_id: str) -> object:
        shelf.damaged.clear()
        return load(shelf, release_id)

    monkeypatch.setattr(Shelf, "_load", collected)
    with pytest.raises(ReleaseGoneError):
        get(PastReleases(shelf.source, list, text_cache=1), "r2")


def test_one_that_somebody_was_erased_from_is_reloaded(shelf: Shelf, past: PastReleases) -> None:
    shelf.publish("r0")
    (before,) = get(past, "r0")
    shelf.digests["r0"] = "rewritten"
    (after,) = get(past, "r0")
    assert after is not before
    assert shelf.loads == ["r0", "r0"]
