"""Batch steps on Ray, the nightly run, source adapters and the command line."""

import os

os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")
"""polars' allocator reads this when polars is first imported. By default it never gives freed pages back to the system
before the system asks for them, so that memory looks a tenth fuller than it is (docs/benchmarks.md, exports)."""
