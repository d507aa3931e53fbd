"""What a check or the gate found, and what a person does about it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

CHECKS_FILE: Final = "data_checks.json"
GATE_FILE: Final = "gate.json"
"""In the folder of each published release's run: what the checks found, and the gate's verdict."""

Severity = Literal["ok", "warning", "stop"]


@dataclass(frozen=True)
class Finding:
    """One figure against what it should be. low, high: the expected range, infinite where it has no bound; says: the
    figure in words; remedy: what to look at first, empty where nothing is wrong."""

    name: str
    value: float
    low: float
    high: float
    severity: Severity
    says: str
    remedy: str = ""

    def line(self) -> str:
        """In one line, as the command line and errors print it."""
        told = f"{self.name}: {self.says} (expected {self.expected()})"
        return f"{told}; {self.remedy}" if self.remedy else told

    def expected(self) -> str:
        """The range in words."""
        low, high = _shown(self.low), _shown(self.high)
        if math.isinf(self.low):
            return f"at most {high}"
        return f"at least {low}" if math.isinf(self.high) else f"{low} to {high}"

    def as_json(self) -> dict[str, float | str | None]:
        """With null for a bound that there is none of."""
        return {
            "name": self.name,
            "value": _finite(self.value),
            "low": _finite(self.low),
            "high": _finite(self.high),
            "severity": self.severity,
            "says": self.says,
            "remedy": self.remedy,
        }


def stops(findings: Iterable[Finding]) -> list[Finding]:
    """Those that end the night."""
    return [one for one in findings if one.severity == "stop"]


def warnings(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are only told."""
    return [one for one in findings if one.severity == "warning"]


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
