"""The public import path for notebooks and scripts: `from recsys.explore import open_workspace`.

The implementation is `features.explore`, which may read the store. No module of the engine imports this package.
"""

from features.explore import Atlas, Chart, ExplainedSlate, OpenedRelease, OpenedWorkspace, charts, open_workspace

__all__ = ["Atlas", "Chart", "ExplainedSlate", "OpenedRelease", "OpenedWorkspace", "charts", "open_workspace"]
