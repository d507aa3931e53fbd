"""Read-only access to a workspace from a notebook or a script; one call answers one question.

`open_workspace` lists the releases of a workspace. A release gives tables, vectors, nearest neighbours, explained
lists, an item map, and quality and exposure by group. Users import all of it from `recsys.explore`.
"""

from features.explore import charts
from features.explore.atlas import Atlas
from features.explore.charts import Chart
from features.explore.explained_slate import ExplainedSlate
from features.explore.release import OpenedRelease
from features.explore.workspace import OpenedWorkspace, open_workspace

__all__ = ["Atlas", "Chart", "ExplainedSlate", "OpenedRelease", "OpenedWorkspace", "charts", "open_workspace"]
