"""The door to looking into a workspace: `from recsys.explore import open_workspace`.

The rooms are `features.explore`, which may read the store; nothing of the engine goes through this door.
"""

from features.explore import Atlas, Chart, ExplainedSlate, OpenedRelease, OpenedWorkspace, charts, open_workspace

__all__ = ["Atlas", "Chart", "ExplainedSlate", "OpenedRelease", "OpenedWorkspace", "charts", "open_workspace"]
