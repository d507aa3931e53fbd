"""Names of model files whose presence depends on the format of a release.

The release store reads them, so this module imports nothing: the store stays quick to import and safe to fork.
"""

from __future__ import annotations

from typing import Final

QUOTES_FILE: Final = "quotes.parquet"
VECTORS_FILE: Final = "quotes.npy"
"""The sentences of reviews, and their vectors: see `recsys.review_quotes`."""

ALIASES_FILE: Final = "aliases.parquet"
"""Other ids of the release's items, one for one: alias, item_id. Only where the shop has any."""

ARRAYS: Final = ("together_shoppers", "together_strength", "together_indices", "together_indptr")
"""The co-purchases, each array in a file `NAME.npy`: see `recsys.cooccurrence`."""
