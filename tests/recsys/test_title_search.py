import polars as pl
from benchmarks.title_words import found_shares
from shared_data import SHARED_DATA, needs_shared_data

pytestmark = needs_shared_data


def test_vietnamese_products_are_found_by_their_titles_with_and_without_tones() -> None:
    titles = pl.read_parquet(SHARED_DATA / "hasaki" / "products.parquet")["title"].drop_nulls().to_list()
    shares = found_shares(titles)
    assert shares["whole title"][0] >= 0.99
    assert shares["whole title without tones"][0] >= 0.95
    assert shares["five words without tones"][0] >= 0.95
