"""Manifests against the code that they run: commands, ports, routes, variables, images, users."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import DEPLOY, ROOT, Manifest, containers, manifests, of_kind, parsed, pod_specs, values

from recsys.config import ServeSettings, Settings
from recsys.settings_file import load_settings
from serving.api import create_app
from serving.ingress.haproxy import COMMAND, COUNTS_VARIABLE, LISTS_VARIABLE
from serving.ingress.ray_proxy import METRICS_VARIABLE, ray_environment
from serving.state import ServiceState
from serving.telemetry import exporter

PODS = [pod for manifest in manifests().values() for pod in pod_specs(manifest)]
CONTAINERS = [container for pod in PODS for container in pod["containers"]]
SECRET = re.compile(r"KEY|TOKEN|PASSWORD|SECRET|_URL", re.IGNORECASE)

METRICS_PATH = "/metrics"


def cluster_specs(node: Any) -> list[Manifest]:
    """Every Ray cluster below `node`."""
    if isinstance(node, list):
        return [spec for value in node for spec in cluster_specs(value)]
    if not isinstance(node, dict):
        return []
    return ([node] if "headGroupSpec" in node else []) + cluster_specs(list(node.values()))


SERVE = """
import importlib, json, os, sys
from ray.serve.schema import ServeDeploySchema
from recsys.errors import ServeError
from serving import app
config = ServeDeploySchema.model_validate(json.load(sys.stdin))
(application,) = config.applications
module, _, function = application.import_path.partition(":")
make = getattr(importlib.import_module(module), function)
deployment = make({})._bound_deployment
place, settings = deployment.init_args
del os.environ["RECSYS_WORKSPACE"]
try:
    refusal = make({})
except ServeError as error:
    refusal = str(error)
print(json.dumps({
    "named_as_by_serve": [application.name, application.route_prefix] == [app.APP_NAME, "/"],
    "port": config.http_options.port,
    "host": settings.serve.host,
    "replicas": deployment.num_replicas,
    "workspace": place,
    "object_store_bytes": app.OBJECT_STORE_BYTES,
    "refusal": refusal,
}))
"""


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    """What Ray Serve makes of the service's configuration; in a process of its own, as importing Serve warns."""
    config = json.dumps(yaml.safe_load(of_kind("RayService")["spec"]["serveConfigV2"]))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RECSYS_WORKSPACE": "/shop", "RECSYS_SERVE__REPLICAS": "3"}
    command = [sys.executable, "-c", SERVE]
    result = subprocess.run(command, input=config, env=environment, cwd="/", capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_the_night_is_a_command_of_recsys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_WORKSPACE", of_kind("ConfigMap")["data"]["RECSYS_WORKSPACE"])
    (night,) = containers(of_kind("CronJob"))
    by_ray = of_kind("RayCronJob")["spec"]["jobTemplate"]["entrypoint"].split()
    for command in (night["command"], by_ray):
        assert command[0] == "recsys"
        assert parsed(command[1:]) == "recsys nightly"


def test_the_night_by_hand_is_the_one_of_the_schedule() -> None:
    assert of_kind("RayJob")["spec"] == of_kind("RayCronJob")["spec"]["jobTemplate"]


def test_ray_serve_makes_the_application_of_the_environment(served: dict[str, Any]) -> None:
    """With keys for every caller, though `serve.host` was not set: a cluster's proxies listen everywhere."""
    assert served["named_as_by_serve"]
    assert (served["workspace"], served["replicas"], served["host"]) == ("/shop", 3, "0.0.0.0")
    assert served["refusal"].startswith("RECSYS_WORKSPACE: not set")


def test_ports_are_those_of_the_service(served: dict[str, Any]) -> None:
    service = of_kind("RayService")
    replica, metrics = containers(service["spec"]["rayClusterConfig"]["workerGroupSpecs"])
    assert served["port"] == ServeSettings().port
    assert [port["containerPort"] for port in replica["ports"]] == [ServeSettings().port]
    assert metrics["command"][:3] == ["python", "-m", exporter.__name__]
    assert metrics["command"][3:] == ["--port", str(exporter.PORT)]
    assert [port["containerPort"] for port in metrics["ports"]] == [exporter.PORT]
    (endpoint,) = of_kind("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == (metrics["ports"][0]["name"], METRICS_PATH)
    opened = {port["port"] for rule in of_kind("NetworkPolicy")["spec"]["ingress"] for port in rule.get("ports", ())}
    assert opened == {8265, ServeSettings().port, exporter.PORT}


def test_probes_ask_for_routes_that_there_are() -> None:
    paths = {METRICS_PATH, *create_app(Settings(), ServiceState(lambda: None)).openapi()["paths"]}
    probes = [
        (container, container[probe]["httpGet"])
        for container in CONTAINERS
        for probe in ("readinessProbe", "livenessProbe", "startupProbe")
        if probe in container
    ]
    assert len(probes) == 2
    for container, get in probes:
        assert get["path"] in paths
        assert get["port"] in {port["name"] for port in container["ports"]}


def test_variables_are_settings_and_a_worker_runs_for_each_replica() -> None:
    shared = of_kind("ConfigMap")["data"]
    for container in CONTAINERS:
        settings = load_settings(None, values(container))
        if "envFrom" in container:
            assert str(settings.serve.replicas) == shared["RECSYS_SERVE__REPLICAS"]
    (group,) = of_kind("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert [group[name] for name in ("replicas", "minReplicas", "maxReplicas")] == [settings.serve.replicas] * 3


def test_ray_is_switched_as_the_service_switches_it_for_itself(served: dict[str, Any], tmp_path: Path) -> None:
    """Ports, sockets and folders aside, which a pod has for itself."""
    settings = {"RAY_SERVE_HAPROXY_NBTHREAD", METRICS_VARIABLE}
    switches = {
        name: value
        for name, value in ray_environment(ServeSettings(), tmp_path).items()
        if name not in settings and not re.search("PORT$|PATH$|FILE|BASE$|LOC$", name)
    }
    cluster = of_kind("RayService")["spec"]["rayClusterConfig"]
    for container in containers(cluster):
        if "envFrom" in container:
            assert switches.items() <= values(container).items()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["rayStartParams"]["object-store-memory"] == str(served["object_store_bytes"])


def test_haproxy_is_started_by_the_command_of_the_image_that_adds_the_door() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"][COMMAND] == "serving.ingress.haproxy:main"
    assert "COPY --from=libraries-cpu /libraries /usr/local" in (ROOT / "Dockerfile").read_text()
    cluster = of_kind("RayService")["spec"]["rayClusterConfig"]
    started = [
        values(container)["RAY_SERVE_HAPROXY_BINARY_PATH"]
        for container in containers(cluster)
        if "envFrom" in container
    ]
    assert set(started) == {f"/usr/local/bin/{COMMAND}"}


def test_the_exporter_reads_what_replicas_and_haproxy_count_and_sees_their_processes() -> None:
    (group,) = of_kind("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    for variable in (COUNTS_VARIABLE, LISTS_VARIABLE):
        assert len({values(container)[variable] for container in pod["containers"]}) == 1
    folders = {values(container)[METRICS_VARIABLE] for container in pod["containers"]}
    assert len(folders) == 1
    for container in pod["containers"]:
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "counts"]
        assert Path(folders.copy().pop()).parent == Path(mount["mountPath"])
    assert pod["shareProcessNamespace"] is True


def test_monitor_budget_and_policy_select_the_pods() -> None:
    (group,) = of_kind("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    labels = group["template"]["metadata"]["labels"] | {"ray.io/node-type": "worker"}  # which KubeRay adds
    for kind in ("PodMonitor", "PodDisruptionBudget"):
        assert of_kind(kind)["spec"]["selector"]["matchLabels"].items() <= labels.items()
    ours = {"key": "recsys/part", "operator": "Exists"}
    assert of_kind("NetworkPolicy")["spec"]["podSelector"]["matchExpressions"] == [ours]
    for name, manifest in manifests().items():
        templates = [node for node in _templates(manifest) if "spec" in node]
        assert all("recsys/part" in node["metadata"]["labels"] for node in templates), name


def _templates(node: Any) -> list[Manifest]:
    if isinstance(node, list):
        return [template for value in node for template in _templates(value)]
    if not isinstance(node, dict):
        return []
    here = [value for key, value in node.items() if key in ("template", "submitterPodTemplate")]
    return here + _templates(list(node.values()))


def test_secrets_are_never_written_down() -> None:
    assert "Secret" not in {manifest["kind"] for manifest in manifests().values()}
    written = [
        *of_kind("ConfigMap")["data"],
        *(entry["name"] for container in CONTAINERS for entry in container.get("env", ()) if "value" in entry),
    ]
    assert [name for name in written if SECRET.search(name)] == []
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert not re.search(r"://\w+:\w{3,}@(?!HOST)", path.read_text()), path


def test_every_ray_cluster_asks_for_its_token_and_has_the_ray_of_the_image() -> None:
    (pinned,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    clusters = [cluster for manifest in manifests().values() for cluster in cluster_specs(manifest)]
    assert len(clusters) == 3
    for cluster in clusters:
        assert cluster["authOptions"] == {"mode": "token"}
        assert cluster["rayVersion"] == pinned


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_no_pod_may_more_than_it_needs(pod: Manifest) -> None:
    user = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(user) == {str(pod["securityContext"]["runAsUser"])}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes


def test_images_are_targets_of_the_dockerfile_and_named_by_the_overlays() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    used = {container["image"] for container in CONTAINERS}
    assert used == {"recsys:cpu", "recsys-cuda:cuda"}
    assert {image.partition(":")[2] for image in used} <= targets
    for overlay in ("cpu", "gpu"):
        content = yaml.safe_load((DEPLOY / "overlays" / overlay / "kustomization.yaml").read_text())
        renamed = {image["name"]: image["newTag"] for image in content["images"]}
        night = yaml.safe_load((DEPLOY / "overlays" / overlay / "nightly.yaml").read_text())
        for image in {"recsys:cpu", *(container["image"] for container in containers(night))}:
            name, _, target = image.partition(":")
            assert renamed[name].endswith(f"-{target}")
