"""The research data beside the checkout, for tests of real shops; they are skipped where it is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

SHARED_DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data"

needs_shared_data: Final = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"the research data is not at {SHARED_DATA}"),
]
