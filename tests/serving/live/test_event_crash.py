"""The service takes events while it is killed -9; the full size is `tests/benchmarks/event_crash.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "event_crash.py"


def test_every_acknowledged_event_is_stored_once_however_the_server_dies(tmp_path: Path, live_url: str) -> None:
    out = tmp_path / "result.json"
    command = [sys.executable, str(SCRIPT), "--events", "2000", "--kills", "3", "--json", str(out)]
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, "--url", live_url], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert (result["acknowledged"], result["stored"], result["lost"], result["twice"]) == (2000, 2000, 0, 0)
    assert result["kills"] == 3
    assert result["retries"] > 0
