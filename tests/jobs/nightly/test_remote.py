"""Steps of a run as tasks of a Ray cluster of two simulated machines."""

import fcntl
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
import unruly_steps
from conftest import NIGHT, SMALL
from ray.cluster_utils import Cluster
from threadpoolctl import threadpool_limits

import jobs.nightly.context
import jobs.nightly.remote
import jobs.nightly.step_cache
from features.store.store import Store
from jobs.cli.scheduler import STOPPED, ended_by_sigterm
from jobs.ingest.files import ingest
from jobs.ingest.sources.sample import make_sample
from jobs.nightly.context import NightlyRun
from jobs.nightly.record import read_runs
from jobs.nightly.remote import on_cluster, resources
from jobs.nightly.run import nightly
from jobs.nightly.step_cache import Output, Step, versions
from jobs.nightly.steps import STEPS
from recsys.config import Settings
from recsys.errors import ClusterError, GateError, StoreError
from recsys.workspace import Workspace

GIB = 2**30
UNRULY_STEPS = ("tell", "hold_back", "fail", "fill_the_disk", "die_once", "die", "wait", "send_sigterm")
TESTS = Path(__file__).parents[2]
WATCHFUL = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
"""A lost machine is noticed in seconds."""


def settings_with(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A small machine with the main process, and a large one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)  # where other processes find `unruly_steps`
        small = {"num_cpus": 1, "memory": GIB, "object_store_memory": 100_000_000, "_system_config": WATCHFUL}
        cluster = Cluster(initialize_head=True, head_node_args=small)
        add_large(cluster)
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def add_large(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=1, memory=8 * GIB, object_store_memory=100_000_000)


@pytest.fixture
def make(cluster: Cluster, workspace: Workspace) -> Iterator[Callable[..., tuple[NightlyRun, Output]]]:
    """`make(name, progress, **fields of the run)`: the run after that step, and the step's result."""
    steps = [Step[NightlyRun](name, getattr(unruly_steps, name)) for name in UNRULY_STEPS]
    with on_cluster(steps) as remote:
        by_name = {step.name: step for step in remote}

        def run(name: str, progress: Any = lambda *_: None, **fields: Any) -> tuple[NightlyRun, Output]:
            values = {"adopted": None, "run_id": "run-1", "asked_as_of": None, "moment": NIGHT, "now": NIGHT}
            values |= {
                "encoder": Settings().encoder,
                "workspace": workspace,
                "store": Store(workspace),
                "settings": Settings(),
                "anew": frozenset(),
            }
            night = NightlyRun(**(values | {"progress": progress} | fields))
            step = by_name[name]
            return night, night.cache.make(step, night, step.inputs(night, {}, night.settings))

        yield run


def test_progress_log_warnings_and_memory_of_a_step_arrive(
    make: Callable[..., tuple[NightlyRun, Output]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    heard: list[tuple[str, int, int | None]] = []
    night, output = make("tell", lambda *report: heard.append(report), messages=["warning: of a step before"])
    assert heard == [("tell", 1, 2), ("tell", 2, 2)]
    assert output.counts == {"steps": 1}
    assert night.messages == ["warning: of a step before", "warning: of a step"]
    assert night.peak_mb is not None and night.peak_mb > 150
    lines = [record.getMessage() for record in caplog.records if record.name == unruly_steps.log.name]
    assert lines == ["telling bytes=104857600"]
    ran = json.loads((night.cache.folder(output) / "where.json").read_text())
    assert ran["pid"] != os.getpid()
    assert ran["folder"] == str(Path.cwd())  # so that paths of settings mean the same


def test_exceptions_of_a_step_are_raised_in_the_main_process(make: Callable[..., tuple[NightlyRun, Output]]) -> None:
    messages: list[str] = []
    with pytest.raises(GateError, match=r"^run held back by a test: so it is$") as held_back:
        make("hold_back", messages=messages)
    assert type(held_back.value) is GateError
    assert messages == ["warning: before the end"]
    with pytest.raises(KeyError, match="no such key") as defect:
        make("fail")
    assert "unruly_steps.py" in str(defect.value.__cause__)  # where it happened
    with pytest.raises(OSError, match="No space left") as full:
        make("fill_the_disk")
    assert (full.value.errno, full.value.filename) == (28, "a file")


def test_a_machine_that_does_not_see_the_workspace_is_refused(
    make: Callable[..., tuple[NightlyRun, Output]], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)  # so that the folder of the result is not there
    with pytest.raises(StoreError, match=rf"^{workspace.root}: \S+, which runs the step tell, cannot read this"):
        make("tell")


def test_a_machine_with_other_code_is_refused(
    make: Callable[..., tuple[NightlyRun, Output]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.nightly.step_cache, "versions", lambda: versions() | {"code": "older", "polars": "0.1"})
    with pytest.raises(
        ClusterError, match=r"^step tell: \S+ has another version of code, polars than the main process"
    ):
        make("tell")


def test_a_copy_of_object_storage_is_worked_on_where_it_is(
    make: Callable[..., tuple[NightlyRun, Output]], workspace: Workspace
) -> None:
    def node_of(place: Workspace, memory_gb: float) -> str:
        night, output = make("tell", workspace=place, settings=settings_with(nightly={"step_memory_gb": memory_gb}))
        where: dict[str, str] = json.loads((night.cache.folder(output) / "where.json").read_text())
        return where["node"]

    here = ray.get_runtime_context().get_node_id()
    assert node_of(replace(workspace, url="s3://bucket/shop"), 0.5) == here
    assert node_of(workspace, 2.0) != here


def test_a_run_that_is_stopped_stops_its_step(
    make: Callable[..., tuple[NightlyRun, Output]], workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped, ended_by_sigterm():
        make("send_sigterm", run_id=str(os.getpid()))
    assert stopped.value.code == STOPPED
    assert_at_rest(workspace)
    (workspace.root / unruly_steps.AT_WORK).unlink()
    with pytest.raises(KeyboardInterrupt):
        make("wait", interrupt)
    assert_at_rest(workspace)
    assert capfd.readouterr() == ("", "")


def assert_at_rest(workspace: Workspace) -> None:
    with (workspace.root / unruly_steps.AT_WORK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where the step works on
    assert list(workspace.steps.glob("*/*")) == []


def test_a_run_on_a_cluster_publishes_what_a_run_on_one_machine_does(
    cluster: Cluster,
    workspace: Workspace,
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    by_memory = {**SMALL["nightly"], "step_memory_gb": 2}
    settings = settings_with(**{**SMALL, "encoder": {"model": str(tiny_bert)}, "nightly": by_memory})
    sample = make_sample(workspace.sample, n_products=40, n_shoppers=40, days=15, seed=1)
    ingest(workspace, sample, settings.ingest, NIGHT)
    alone = Workspace(tmp_path / "alone")
    shutil.copytree(workspace.root, alone.root)
    with monkeypatch.context() as patch, threadpool_limits(1):
        patch.delenv("RAY_ADDRESS")
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        expected = nightly(alone, settings, None, NIGHT, lambda *_: None)
        torch.set_num_threads(n_threads)
    monkeypatch.setattr(jobs.nightly.context, "read_shop", None)
    caplog.set_level(logging.INFO)
    caplog.clear()
    bars: list[str] = []
    report = nightly(workspace, settings, None, NIGHT, lambda what, *_: bars.append(what))
    assert report.published
    assert report.release_id == expected.release_id
    assert (report.metrics, report.counts, report.messages) == (expected.metrics, expected.counts, expected.messages)
    (run,), (run_alone,) = read_runs(workspace), read_runs(alone)
    for step, step_alone in zip(run.steps, run_alone.steps, strict=True):
        # the key is of all that the steps before have made
        assert (step.name, step.key, step.counts) == (step_alone.name, step_alone.key, step_alone.counts)
        assert step.peak_mb > 0
    assert Store(workspace).open().manifest.files == Store(alone).open().manifest.files
    pids = dict(re.findall(r"step_started step=(\w+) host=\S+ pid=(\d+)", caplog.text))
    assert list(pids) == [step.name for step in STEPS]
    assert str(os.getpid()) not in pids.values()
    assert pids["ingest"] != pids["learn"]
    assert "train the sequence model" in bars


def test_a_step_that_is_killed_is_made_again_from_the_start(
    make: Callable[..., tuple[NightlyRun, Output]], caplog: pytest.LogCaptureFixture
) -> None:
    _, output = make("die_once")
    assert (output.counts, list(output.files)) == ({"before": 1}, ["attempt-1"])
    assert "step_lost step=die_once attempt=1 of=3" in caplog.text


def test_a_step_that_is_killed_again_and_again_ends_the_run_with_one_line(
    make: Callable[..., tuple[NightlyRun, Output]], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.nightly.remote, "TRIES", 1)
    with pytest.raises(ClusterError, match=r"^step die: its machine or process was lost 1 times .*--resume`$"):
        make("die")
    assert list(workspace.steps.glob("*/*")) == []


def test_a_step_goes_on_elsewhere_where_its_machine_is_lost(
    make: Callable[..., tuple[NightlyRun, Output]], cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Of what it reserves only the large machine has enough; another one takes its place."""

    def lose_the_large(*_: object) -> None:
        (large,) = cluster.worker_nodes
        cluster.remove_node(large, allow_graceful=False)
        add_large(cluster)

    _, output = make("wait", lose_the_large, settings=settings_with(nightly={"step_memory_gb": 2}))
    assert output.counts == {}
    assert "step_lost step=wait attempt=1 of=3" in caplog.text


@pytest.mark.parametrize(
    ("name", "workers", "nodes", "taken"),
    [
        ("read", 1, [{"memory": 4 * GIB, "GPU": 1}], {"memory": 2 * GIB}),
        ("ingest", 1, [{"memory": 4 * GIB, "GPU": 1}], {}),  # it is bounded, and bound to its machine
        ("learn", 1, [{"memory": 4 * GIB}], {"memory": 2 * GIB}),
        ("learn", 1, [{"memory": 4 * GIB, "GPU": 1}], {"memory": 2 * GIB, "num_gpus": 1}),
        ("learn", 0, [{"memory": 4 * GIB, "GPU": 1}], {"memory": 2 * GIB}),  # its workers take the GPUs
        ("embed", 1, [{"memory": 4 * GIB, "GPU": 1}], {"memory": 2 * GIB}),
        ("fit", 1, [{"memory": GIB, "GPU": 1}, {"memory": 4 * GIB}], {"memory": 2 * GIB}),  # the GPU's node is small
    ],
)
def test_a_step_takes_memory_and_a_gpu_only_to_train(
    name: str, workers: int, nodes: list[dict[str, float]], taken: dict[str, float]
) -> None:
    settings = settings_with(nightly={"step_memory_gb": 2}, sequence={"workers": workers})
    assert resources(name, settings, nodes) == taken


def test_a_step_that_no_node_is_large_enough_for_says_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    assert resources("learn", settings_with(nightly={"step_memory_gb": 2}), [{"memory": GIB}]) == {"memory": 2 * GIB}
    assert "step_waiting_for_memory step=learn needs_gb=2.0 largest_node_gb=1.0" in caplog.text


def test_nothing_is_reserved_by_default() -> None:
    assert resources("learn", Settings(), [{"memory": GIB}]) == {}
