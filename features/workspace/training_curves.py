"""What each epoch of a night's sequence models achieved, `runs/RUN_ID/training.json`, for the night's report and, as
`runs/RELEASE_ID/training.json`, for notebooks.

It lies with the run's record and in no step's result: a fit that was cut off and goes on tells fewer epochs than an
undisturbed one, and must give the same result all the same.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from features.workspace.atomic_files import write_atomically
from recsys.sequence.training import Epoch

log = logging.getLogger(__name__)

TRAINING_FILE: Final = "training.json"

FITS: Final = {"first": "before validation days", "evaluate": "before last days", "fit": "of everything"}
"""What each fit of a night learns from."""

_JSON: Final = TypeAdapter(dict[str, list[Epoch]])


def note_epoch(run_folder: Path, fit: str, epoch: Epoch) -> None:
    """Add what an epoch of the fit of that name achieved; one that is done again takes the earlier one's place. A full
    disk is logged, and left for the model itself to fail at."""
    epochs = read_epochs(run_folder)
    kept = [one for one in epochs.get(fit, []) if one.number < epoch.number]
    told = {name: [asdict(one) for one in of] for name, of in (epochs | {fit: [*kept, epoch]}).items()}
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run_folder / TRAINING_FILE, json.dumps(told, indent=1).encode())
    except OSError as error:
        log.warning("epoch not noted path=%s error=%s", run_folder / TRAINING_FILE, error)


def read_epochs(run_folder: Path) -> dict[str, list[Epoch]]:
    """Of the fits "first", "evaluate" and "fit", as far as they were made in this run; a damaged file tells nothing."""
    try:
        return _JSON.validate_json((run_folder / TRAINING_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        log.warning("epochs unreadable path=%s error=%s", run_folder, str(error).partition("\n")[0])
        return {}
