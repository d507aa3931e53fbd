"""The training curves of a nightly run's sequence models: `runs/RUN_ID/training.json` for the run's report, copied to
`runs/RELEASE_ID/training.json` for notebooks.

The file lies beside the run's record and is not part of a step's cached output: a fit that was interrupted and resumed
may have noted fewer epochs than an uninterrupted one, and its output must be the same.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from features.workspace.atomic_files import write_atomically
from recsys.sequence.training import Epoch

log = logging.getLogger(__name__)

TRAINING_FILE: Final = "training.json"

FITS: Final = {"first": "before validation days", "evaluate": "before last days", "fit": "of everything"}
"""The fits of a run, and what each is trained on."""

_JSON: Final = TypeAdapter(dict[str, list[Epoch]], config=ConfigDict(ser_json_inf_nan="constants"))


def note_epoch(run_folder: Path, fit: str, epoch: Epoch) -> None:
    """Add an epoch to the curve of a fit. An epoch that is repeated replaces the earlier one and all after it. A write
    error (a full disk, say) is only logged: writing the model will fail by itself."""
    epochs = read_epochs(run_folder)
    earlier = [done for done in epochs.get(fit, []) if done.number < epoch.number]
    content = _JSON.dump_json(epochs | {fit: [*earlier, epoch]}, indent=1)
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run_folder / TRAINING_FILE, content)
    except OSError as error:
        log.warning("epoch not noted path=%s error=%s", run_folder / TRAINING_FILE, error)


def read_epochs(run_folder: Path) -> dict[str, list[Epoch]]:
    """The epochs of each of `FITS` that this run has trained; {} where there is no file, or a damaged one (logged)."""
    try:
        return _JSON.validate_json((run_folder / TRAINING_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        log.warning("epochs unreadable path=%s error=%s", run_folder, str(error).partition("\n")[0])
        return {}
