"""One result of a data check or of the gate, and what a person does about it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, PlainSerializer

Severity = Literal["ok", "warning", "stop"]

_DIGITS: Final = 6


def _null_is(bound: float) -> BeforeValidator:
    def fill(value: Any) -> Any:
        return bound if value is None else value

    return BeforeValidator(fill)


def _finite(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


_FINITE = PlainSerializer(_finite, when_used="json")


@dataclass(frozen=True)
class Finding:
    """One figure against its expected range. low, high: the range, infinite where it has no bound (null in JSON); says:
    the figure in words; remedy: what to look at first, empty where nothing is wrong."""

    name: str
    value: Annotated[float, _null_is(math.nan), _FINITE]
    low: Annotated[float, _null_is(-math.inf), _FINITE]
    high: Annotated[float, _null_is(math.inf), _FINITE]
    severity: Severity
    says: str
    remedy: str = ""

    def line(self) -> str:
        """In one line, as the command line and errors print it."""
        expected = self.expected()
        line = f"{self.name}: {self.says}" + (f" (expected {expected})" if expected else "")
        return f"{line}; {self.remedy}" if self.remedy else line

    def expected(self) -> str:
        """The range in words; "" without any bound."""
        low, high = _shown(self.low), _shown(self.high)
        if math.isinf(self.low):
            return "" if math.isinf(self.high) else f"at most {high}"
        return f"at least {low}" if math.isinf(self.high) else f"{low} to {high}"


def stops(findings: Iterable[Finding]) -> list[Finding]:
    """Those that stop the run."""
    return [finding for finding in findings if finding.severity == "stop"]


def warnings(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are reported and do not stop the run."""
    return [finding for finding in findings if finding.severity == "warning"]


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
