from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.config import ComplementsSettings
from recsys.cooccurrence import MAX_BASKET, CoPurchases, learn_together
from recsys.errors import StoreError

ITEMS = pl.Series(["a", "b", "c", "d"])
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def bought(*pairs: str, kind: str = "purchase") -> pl.DataFrame:
    """Each pair is a shopper and an item, such as "1a"."""
    return pl.DataFrame(
        {
            "user_id": [pair[0] for pair in pairs],
            "item_id": [pair[1:] for pair in pairs],
            "event_type": [kind] * len(pairs),
            "timestamp": [NOON] * len(pairs),
        }
    )


BASKETS = bought("1a", "1b", "2a", "2b", "3a", "3b", "3c", "4a", "4c", "5d")


def test_shoppers_who_bought_both_are_counted() -> None:
    together = learn_together(BASKETS, ITEMS, ComplementsSettings())
    assert together.shoppers.toarray().tolist() == [[0, 3, 2, 0], [3, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]
    assert together.strength[0, 1] == pytest.approx(2 / np.sqrt(4 * 3))
    assert together.strength[0, 1] > together.strength[0, 2] > 0


def test_buying_twice_is_one_shopper_and_a_view_is_no_purchase() -> None:
    again = learn_together(pl.concat([BASKETS, BASKETS]), ITEMS, ComplementsSettings())
    assert again.shoppers[0, 1] == 3
    viewed = learn_together(bought("1a", "1b", "2a", "2b", kind="view"), ITEMS, ComplementsSettings())
    assert viewed.shoppers.nnz == 0


def test_the_strongest_partners_are_kept() -> None:
    together = learn_together(BASKETS, ITEMS, ComplementsSettings(per_item=1))
    assert together.shoppers[0].indices.tolist() == [1]
    assert learn_together(BASKETS, ITEMS, ComplementsSettings(per_item=0)).shoppers.nnz == 0


def test_items_outside_the_model_and_no_events_count_for_nothing() -> None:
    assert learn_together(bought("1x", "1y"), ITEMS, ComplementsSettings()).shoppers.nnz == 0
    assert learn_together(BASKETS.clear(), ITEMS, ComplementsSettings()).shoppers.shape == (4, 4)


def test_of_a_resellers_purchases_the_newest_are_paired() -> None:
    ids = pl.Series([f"i{n:04d}" for n in range(MAX_BASKET + 10)])
    events = pl.concat(
        pl.DataFrame(
            {
                "user_id": user,
                "item_id": ids,
                "event_type": "purchase",
                "timestamp": [NOON + timedelta(hours=n) for n in range(len(ids))],
            }
        )
        for user in ("r", "s")
    )
    together = learn_together(events, ids, ComplementsSettings(per_item=1000))
    assert together.shoppers[0].nnz == 0
    assert together.shoppers[len(ids) - 1].nnz == MAX_BASKET - 1


def test_it_comes_back_from_disk_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="together cannot be read"):
        CoPurchases.load(tmp_path, 4)
    together = learn_together(BASKETS, ITEMS, ComplementsSettings())
    together.save(tmp_path)
    again = CoPurchases.load(tmp_path, 4)
    np.testing.assert_array_equal(again.shoppers.toarray(), together.shoppers.toarray())
    np.testing.assert_array_equal(again.strength.toarray(), together.strength.toarray())


def test_damaged_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    learn_together(BASKETS, ITEMS, ComplementsSettings()).save(tmp_path)
    (tmp_path / "together_shoppers.npy").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="run `recsys nightly` again"):
        CoPurchases.load(tmp_path, 4)
