"""No two modules import each other, neither directly nor through others; imports for type checkers count."""

from __future__ import annotations

import grimp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def cycles(graph: grimp.ImportGraph) -> list[list[str]]:
    modules = sorted(graph.modules)
    number = {name: row for row, name in enumerate(modules)}
    edges = [
        (number[name], number[other]) for name in modules for other in graph.find_modules_directly_imported_by(name)
    ]
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    matrix = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(modules), len(modules)))
    _, component = connected_components(matrix, directed=True, connection="strong")
    together: dict[int, list[str]] = {}
    for name, label in zip(modules, component.tolist(), strict=True):
        together.setdefault(label, []).append(name)
    return [names for names in together.values() if len(names) > 1]


def test_a_cycle_is_noticed() -> None:
    graph = grimp.ImportGraph()
    for name in ("a", "b", "c", "d"):
        graph.add_module(name)
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        graph.add_import(importer=importer, imported=imported)
    assert cycles(graph) == [["a", "b", "c"]]


def test_there_is_no_import_cycle() -> None:
    assert cycles(grimp.build_graph("recsys", "features", "serving", "jobs", cache_dir=None)) == []
