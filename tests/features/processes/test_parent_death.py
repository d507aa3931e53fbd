"""Children that end with the process that started them: real processes, ended by the kernel."""

import os
import select
import signal
import subprocess
import sys

import pytest

from features.processes.parent_death import ending_with_parent

PARENT = """
import subprocess, sys
from features.processes.parent_death import ending_with_parent
child = subprocess.Popen(ending_with_parent(["sleep", "600"]), start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert select.select([child], [], [], 30)[0]
    os.close(child)


def test_a_child_is_the_command_itself() -> None:
    with subprocess.Popen(
        ending_with_parent(["sh", "-c", "echo $$; exit 7"]), stdout=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        assert int(done.stdout.read()) == done.pid
    assert done.returncode == 7


def test_a_child_whose_parent_died_before_it_began_does_not_begin() -> None:
    command = ending_with_parent(["echo", "begun"])
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")


def test_a_command_that_does_not_exist_is_named() -> None:
    done = subprocess.run(ending_with_parent(["no-such-command"]), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "no-such-command: No such file or directory\n"
