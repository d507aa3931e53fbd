"""Helpers for tests of deploy/: all manifests, their containers at any depth, and the commands in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from typer.core import TyperGroup
from typer.main import get_command

from jobs.__main__ import app

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = {"Kustomization", "Component"}

Manifest = dict[str, Any]


def manifests() -> dict[str, Manifest]:
    """`FILE KIND` -> manifest, for every resource, without kustomize's own files."""
    return {
        f"{path.relative_to(DEPLOY)} {document['kind']}": document
        for path in sorted(DEPLOY.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document["kind"] not in KUSTOMIZE
    }


def of_kind(kind: str) -> Manifest:
    """The only manifest of that kind."""
    (manifest,) = (each for each in manifests().values() if each["kind"] == kind)
    return manifest


def pod_specs(node: Any) -> Iterator[Manifest]:
    """All pod specs below `node`."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from pod_specs(value)
    elif isinstance(node, list):
        for value in node:
            yield from pod_specs(value)


def containers(node: Any) -> list[Manifest]:
    """All containers below `node`."""
    return [container for pod in pod_specs(node) for container in pod["containers"]]


def values(container: Manifest) -> dict[str, str]:
    """The plain variables of a container: those of the config map, then its own."""
    shared = of_kind("ConfigMap")["data"] if "envFrom" in container else {}
    return {**shared, **{entry["name"]: entry["value"] for entry in container.get("env", ()) if "value" in entry}}


def parsed(words: list[str]) -> str:
    """The command that `recsys WORDS` runs, after parsing its options. Raises as the command line does."""
    command: Any = get_command(app)
    context = command.make_context("recsys", list(words))
    while isinstance(command, TyperGroup):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return str(context.command_path)
