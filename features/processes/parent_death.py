"""Children that end with the process that started them, also when that is killed. Linux only: elsewhere they stay.

`ending_with_parent(command)` is the command with this file in front, run as a program: it asks the kernel for a signal
at the parent's death and then becomes the command. A function run between fork and exec could do the same, but a
process with threads may hang in one. The standard library alone: this is part of the start of each child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of `man 2 prctl`."""


def ending_with_parent(command: Sequence[str]) -> list[str]:
    """The command, which gets SIGTERM when this process dies.

    The kernel means the thread that starts the child: start it from one that outlives it.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def signal_at_parent_death(number: signal.Signals) -> None:
    """Have this process get the signal when its parent dies. It holds beyond exec, but not for children."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, number, 0, 0, 0)


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    signal_at_parent_death(signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel knew
        sys.exit(128 + signal.SIGTERM)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
