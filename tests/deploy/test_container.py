"""What the Dockerfile runs, run as its user in a container made by hand: no Docker, but the same limits.

The root is read-only, the user is not root and has no home, /tmp is a tmpfs, /dev/shm has 64 MiB as Docker gives it,
and there is no network but the container's own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from manifests import ROOT
from served_shop import publish

from features.workspace.api_keys import Scope, create_key

DOCKERFILE = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
LO_UP = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"
)
"""SIOCSIFFLAGS with IFF_UP and IFF_RUNNING: a new network has its loopback interface off."""

RAY_TASK = (
    "import ray; from jobs.cluster.ray_cluster import start_ray; start_ray(); "
    "print('a task of Ray says', ray.get(ray.remote(lambda: 40 + 2).remote()))"
)


def instruction(name: str) -> str:
    """The arguments of the last instruction of that name: of the target `cpu`."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)[-1]


def environment() -> dict[str, str]:
    pairs = re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)))
    inside = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/recsys", "PYTHONPATH": os.pathsep.join(sys.path)}
    return dict(pairs) | inside | {"RECSYS_WORKSPACE": "/mnt/workspace"}


def python(line: str) -> str:
    """A command of the Dockerfile, in JSON, with this Python and code in place of the image's."""
    program, *arguments = json.loads(line)
    return shlex.join([sys.executable, *(("-m", "jobs") if program == "recsys" else ()), *arguments])


def closed_folders() -> list[tuple[Path, Path]]:
    """Where Python or the libraries lie below a folder that others cannot enter, as /root: that folder, and the one to
    show in it."""
    closed = []
    for path in {Path(sys.base_prefix), Path(sys.prefix), ROOT}:
        for folder in reversed(path.parents):
            if not folder.stat().st_mode & 0o001:
                closed.append((folder, path))
                break
    return closed


def container(workspace: Path, commands: str, temp: str) -> str:
    """A shell script that makes the container and runs the commands in it. temp: options of the mount of /tmp."""
    lines = ["set -e", "mount --make-rprivate /", "mount -t tmpfs tmpfs /mnt"]
    for n, (_, shown) in enumerate(closed := closed_folders()):
        lines += [f"mkdir /mnt/{n}", f"mount --bind {shown} /mnt/{n}"]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {folder}" for folder in {folder for folder, _ in closed}]
    for n, (_, shown) in enumerate(closed):
        lines += [f"mkdir -p {shown}", f"mount --bind /mnt/{n} {shown}"]
    lines += [f"mount -o remount,ro,bind {folder}" for folder in {folder for folder, _ in closed}]
    lines += [
        "mkdir /mnt/workspace",
        f"mount --bind {workspace} /mnt/workspace",
        f"mount -t tmpfs -o {temp} tmpfs /tmp",
    ]
    lines += ["mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm"]
    # Below the repository too, where that is a file system of its own; what is mounted above stays as it is.
    lines += [f"! mountpoint -q {ROOT} || mount -o remount,ro,bind {ROOT}", "mount -o remount,ro,bind /", f"cd {ROOT}"]
    user = instruction("USER")
    run = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", "-i"]
    run += [f"{name}={value}" for name, value in environment().items()]
    lines += [f"{shlex.quote(sys.executable)} -c {shlex.quote(LO_UP)}"]
    lines += [f"exec {shlex.join([*run, 'sh', '-c', commands])}"]
    return "\n".join(lines)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A workspace with a release and a key, which the container's user may write. Skips where none can be made."""
    missing = [tool for tool in ("unshare", "setpriv", "mountpoint") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {missing[0]}")
    if Path(__file__).is_relative_to("/tmp"):
        pytest.skip("the project lies in /tmp, which the container has of its own")
    if os.geteuid() != 0:
        pytest.skip("another user can only be taken on by root")
    if subprocess.run(
        ["unshare", "-mnpf", "mount", "--make-rprivate", "/"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this system lets nobody make namespaces")
    root = tmp_path / "shop"
    publish(root, "r1")
    create_key(root / "keys.json", "shop", (Scope.READ,), datetime.now(UTC))
    for path in (root, *root.rglob("*")):
        os.chown(path, int(instruction("USER")), int(instruction("USER")))
    return root


def in_container(workspace: Path, commands: str, temp: str = "mode=1777") -> subprocess.CompletedProcess[str]:
    script = container(workspace, commands, temp)
    run = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
    return subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)


def test_the_default_command_serves_read_only_as_its_user(shop: Path) -> None:
    health = python(instruction("HEALTHCHECK").partition("CMD ")[2])
    serve = python(json.dumps([*json.loads(instruction("ENTRYPOINT")), *json.loads(instruction("CMD"))]))
    done = in_container(
        shop,
        f"""
        touch /x 2>/dev/null || echo read-only
        {serve} > /tmp/line & service=$!
        for n in $(seq 100); do grep -q serving /tmp/line && break; kill -0 $service || break; sleep 1; done
        cat /tmp/line
        {health} && echo healthy
        kill -TERM $service; wait $service; echo ended with $?
        ls /tmp | grep -c ^rs- || true
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *("read-only", "serving release r1 on http://0.0.0.0:8000  (Ctrl-C stops)", "healthy", "ended with 0", "0")
    ], done.stderr


def test_other_machines_may_reach_it_by_ipv6(shop: Path) -> None:
    ask = "import urllib.request as u; print(u.urlopen('http://[::1]:8000/readyz', timeout=9).status)"
    done = in_container(
        shop,
        f"""
        {python('["recsys", "serve", "--host", "::"]')} > /tmp/line & service=$!
        for n in $(seq 100); do grep -q serving /tmp/line && break; kill -0 $service || break; sleep 1; done
        cat /tmp/line
        {shlex.quote(sys.executable)} -c "{ask}"
        kill -TERM $service; wait $service
        """,
    )
    if "IPv6 is off on this machine" in done.stderr:
        pytest.skip("IPv6 is off here")
    assert done.stdout.splitlines() == ["serving release r1 on http://[::]:8000  (Ctrl-C stops)", "200"], done.stderr


def test_batch_jobs_start_ray_there(shop: Path) -> None:
    done = in_container(
        shop, f"{shlex.quote(sys.executable)} -c {shlex.quote(RAY_TASK)}; ls /tmp | grep -c ^rs- || true"
    )
    assert done.stdout.splitlines() == ["a task of Ray says 42", "0"], done.stderr


def test_without_a_folder_for_temporary_files_one_line_says_what_to_set(shop: Path) -> None:
    serve = python('["recsys", "serve", "--host", "0.0.0.0"]')
    done = in_container(shop, serve, temp="ro")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("recsys: error: no folder for temporary files: /tmp cannot be written; ")
    assert done.stderr.count("\n") == 1
