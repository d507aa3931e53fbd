"""The dashboard asks for what the service counts, and for nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from manifests import DEPLOY

from serving.telemetry.metrics import REGISTRY

BOARD = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())
LABELS_OF_PROMETHEUS = {"namespace", "pod", "le"}
FAMILIES = {sample: family for family in REGISTRY.collect() for sample in [family.name, f"{family.name}_total"]} | {
    f"{family.name}_{part}": family for family in REGISTRY.collect() for part in ("bucket", "sum", "count")
}


def labels_of(metric: str) -> set[str]:
    """The labels that the service gives a metric."""
    name = FAMILIES[metric].name
    collector: Any = REGISTRY._names_to_collectors[name]
    return set(collector._labelnames)


def queries() -> list[str]:
    expressions = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return expressions + [v["query"]["query"] for v in BOARD["templating"]["list"] if isinstance(v["query"], dict)]


@pytest.mark.parametrize("query", queries())
def test_a_query_names_metrics_and_labels_that_there_are(query: str) -> None:
    metrics = re.findall(r"\brecsys_\w+", query)
    assert metrics
    known = LABELS_OF_PROMETHEUS.union(*map(labels_of, metrics))
    selected = re.findall(r"[{,](\w+)\s*(?:=~|!=|!~|=)", query)
    grouped = [name for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(", ")]
    assert {*selected, *grouped} <= known
    for opened, closed in ("()", "{}", "[]"):
        assert query.count(opened) == query.count(closed)


@pytest.mark.parametrize("query", queries())
def test_counters_are_asked_for_their_rate_and_gauges_are_not(query: str) -> None:
    for metric in re.findall(r"\brecsys_\w+", query):
        if query.startswith("label_values"):
            continue
        is_rate = re.search(rf"rate\({metric}\{{", query) is not None
        assert is_rate == (FAMILIES[metric].type in ("counter", "histogram"))


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
