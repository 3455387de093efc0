"""The shipped Compose file and Kubernetes manifests, read as their tools read them, as far as ours use those tools."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
Document = dict[str, Any]
#: What `render` knows of kustomize; a kustomization that uses more fails here, so that no test passes by not looking.
KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "patches"}
#: Kinds that lie in no namespace.
CLUSTER = {"Namespace"}


@dataclass(frozen=True)
class Process:
    """One process that a file starts: its command, and its variables with the secrets that they name as values `secret:…`."""

    name: str
    image: str
    command: list[str]
    variables: dict[str, str]
    spec: Document = field(repr=False, compare=False)


def compose() -> Document:
    """Return the Compose file with its anchors merged."""
    loaded: Document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def compose_processes() -> list[Process]:
    """Return our own processes of the Compose file; each variable of the host has its default, or a value like one."""
    found = []
    for name, service in compose()["services"].items():
        if service["image"].startswith("exchequer-"):
            given = {key: _from_host(str(value)) for key, value in (service.get("environment") or {}).items()}
            found.append(
                Process(name, service["image"], [_from_host(word) for word in service["command"]], given, service)
            )
    return found


def _from_host(value: str) -> str:
    """Return a value with `${NAME:-default}` as Compose fills it where the host sets nothing; required ones are filled in."""
    return re.sub(r"\$\{\w+:(-|\?)([^}]*)\}", lambda m: m[2] if m[1] == "-" else "https://given.example", value)


def render(folder: Path) -> list[Document]:
    """Return the documents of a kustomization as `kubectl kustomize` prints them."""
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(plan) <= KNOWN, f"{folder}: {sorted(set(plan) - KNOWN)}"
    documents: list[Document] = []
    for name in plan["resources"]:
        place = folder / name
        documents += render(place) if place.is_dir() else list(load(place))
    if "namespace" in plan:
        for one in documents:
            if one["kind"] not in CLUSTER:
                one["metadata"]["namespace"] = plan["namespace"]
    for patch in plan.get("patches", ()):
        assert set(patch) in ({"path"}, {"patch"}), patch
        text = (folder / patch["path"]).read_text() if "path" in patch else patch["patch"]
        for change in yaml.safe_load_all(text):
            targets = [one for one in documents if identity(one) == identity(change)]
            assert len(targets) == 1, f"{folder}: {identity(change)} is in {len(targets)} documents"
            _merge(targets[0], change)
    for image in plan.get("images", ()):
        for container in (one for document in documents for one in containers(document)):
            if container["image"].partition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    assert len({identity(one) for one in documents}) == len(documents), f"{folder}: two documents of one name"
    return documents


def load(path: Path) -> Iterator[Document]:
    """Yield the documents of a file."""
    yield from (copy.deepcopy(one) for one in yaml.safe_load_all(path.read_text()) if one)


def identity(document: Document) -> tuple[str, str, str]:
    """Return what distinguishes a document from others."""
    meta = document["metadata"]
    return document["kind"], meta.get("namespace", ""), meta["name"]


def pod_of(document: Document) -> Document | None:
    """Return the pod that a document starts."""
    template = document.get("spec", {}).get("template")
    return template["spec"] if template else None


def containers(document: Document) -> list[Document]:
    """Return the containers that a document starts."""
    pod = pod_of(document) or {}
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]


def kubernetes_processes(documents: list[Document]) -> list[Process]:
    """Return the processes of rendered manifests."""
    maps = {identity(one)[1:]: one["data"] for one in documents if one["kind"] == "ConfigMap"}
    found = []
    for document in documents:
        for container in containers(document):
            given: dict[str, str] = {}
            for source in container.get("envFrom", ()):
                reference = source["configMapRef"]
                key = document["metadata"]["namespace"], reference["name"]
                assert key in maps or reference.get("optional"), (
                    f"{identity(document)}: no ConfigMap {reference['name']}"
                )
                given |= maps.get(key, {})
            for one in container.get("env", ()):
                given[one["name"]] = one["value"] if "value" in one else _referred(one["valueFrom"])
            name = f"{document['metadata']['name']}/{container['name']}"
            found.append(Process(name, container["image"], container["command"], given, container))
    return found


def _referred(source: Document) -> str:
    ((kind, reference),) = source.items()
    return f"secret:{reference['name']}" if kind == "secretKeyRef" else f"{kind}:{reference['fieldPath']}"


def _merge(target: Document, change: Document) -> None:
    """Merge a strategic patch of maps; lists are replaced, which for lists of ours no patch does."""
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            assert not isinstance(value, list), f"a patch of the list {key}: name it in the test's renderer first"
            target[key] = value
