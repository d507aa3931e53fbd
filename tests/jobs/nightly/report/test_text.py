import pytest

from jobs.nightly.report.text import seconds


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0.0 s"), (9.9, "9.9 s"), (12.4, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_times_of_any_length_are_short(value: float, text: str) -> None:
    assert seconds(value) == text
