"""Looking into a workspace from a notebook or a script: read-only, one call a question.

`open_workspace` gives its releases; a release gives tables, vectors, neighbours, explained slates, the atlas, and how
its lists serve whom. Users import all of it from `recsys.explore`.
"""

from features.explore import charts
from features.explore.atlas import Atlas
from features.explore.charts import Chart
from features.explore.explained_slate import ExplainedSlate
from features.explore.opened_release import OpenedRelease
from features.explore.opened_workspace import OpenedWorkspace, open_workspace

__all__ = ["Atlas", "Chart", "ExplainedSlate", "OpenedRelease", "OpenedWorkspace", "charts", "open_workspace"]
