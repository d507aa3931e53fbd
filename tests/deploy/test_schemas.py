"""Manifests against the schemas that a cluster would check them by: Kubernetes' own and those of the custom kinds."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from manifests import DEPLOY, Manifest, manifests, of_kind
from referencing import Registry, Resource

KUBERNETES = "1.33"
"""The oldest that the manifests are meant for; nothing in them has gone since."""

SCHEMAS = Path(__file__).parent / "schemas"


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text())


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Kubernetes' definitions, and the schemas of custom kinds, which refer to them."""
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{KUBERNETES}.0-local-strict"
    definitions = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    custom = [Resource.from_contents(schema(path.name)) for path in SCHEMAS.glob("*.json")]
    return [definitions, *custom] @ Registry()


def fault(manifest: Manifest, registry: Registry) -> str:
    """What is wrong with a manifest, and where; empty where nothing is."""
    group = manifest["apiVersion"].partition("/")[0]
    if not (SCHEMAS / f"{group}.json").exists():
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            return str(error.message)
        return ""
    reference = f"{schema(f'{group}.json')['$id']}#/$defs/{manifest['kind']}"
    error = best_match(Draft202012Validator({"$ref": reference}, registry=registry).iter_errors(manifest))
    return f"{error.json_path}: {error.message}" if error is not None else ""


@pytest.mark.parametrize("name", list(manifests()))
def test_a_cluster_takes_the_manifest(name: str, registry: Registry) -> None:
    assert fault(manifests()[name], registry) == ""


def test_a_field_in_the_wrong_place_is_found(registry: Registry) -> None:
    """At every depth: of KubeRay's own fields, of a pod's, and of a kind that Kubernetes has itself."""
    service, night = of_kind("RayService"), of_kind("CronJob")
    wrong = copy.deepcopy(service)
    wrong["spec"]["rayClusterConfig"]["authOption"] = {"mode": "token"}
    assert "authOption" in fault(wrong, registry)
    wrong = copy.deepcopy(service)
    wrong["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["enviroment"] = []
    assert "enviroment" in fault(wrong, registry)
    wrong = copy.deepcopy(service)
    wrong["spec"]["rayClusterConfig"]["authOptions"]["mode"] = "tokens"
    assert "tokens" in fault(wrong, registry)
    wrong = copy.deepcopy(night)
    wrong["spec"]["timezone"] = wrong["spec"].pop("timeZone")
    assert "timezone" in fault(wrong, registry)


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_an_overlay_renders_to_what_a_cluster_takes(overlay: str, registry: Registry) -> None:
    """Where kubectl is installed: references and image names of kustomize are its own to resolve."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    command = [kubectl, "kustomize", str(DEPLOY / "overlays" / overlay)]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documents = list(yaml.safe_load_all(rendered))
    assert [fault(document, registry) for document in documents] == [""] * len(documents)
    assert {document["metadata"]["namespace"] for document in documents} == {"recsys"}
    assert "image: recsys" not in rendered


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_kustomize_finds_the_files_it_is_told_of(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    files = [
        entry.partition("=")[2] for generator in content.get("configMapGenerator", ()) for entry in generator["files"]
    ]
    for name in [*content["resources"], *content.get("components", ()), *files]:
        assert (path.parent / name).exists(), name
