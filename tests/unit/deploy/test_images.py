"""What is shipped for containers, checked without Docker or a cluster: schemas, hardening, and that each process exists."""

from __future__ import annotations

import base64
import importlib.resources
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml
from django.core.management import get_commands

from compute import limits
from config import env, node_settings
from config.databases import DATABASE_URLS, OPERATOR_SECRETS, DatabaseRole
from deploy import node_join
from tests.unit.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    ROOT,
    Document,
    Process,
    compose,
    compose_processes,
    containers,
    identity,
    kubernetes_processes,
    load,
    pod_of,
    render,
)

#: The oldest and the newest release of Kubernetes that the manifests are for.
RELEASES = ("1.31", "1.37")
PINNED = re.compile(r"^[\w./-]+:\d+\.\d+\.\d+[\w.-]*$")
#: Variables of the processes that are no settings of ours.
OTHERS = {"OMP_NUM_THREADS", "TMPDIR"}
KUSTOMIZATIONS = sorted(path.parent for path in KUBERNETES.rglob("kustomization.yaml"))
DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text()
KEY = base64.b64encode(bytes(32)).decode()


def everything() -> list[Document]:
    return [*render(KUBERNETES / "overlays/gpu"), *render(KUBERNETES / "prepare")]


def processes() -> list[Process]:
    return [*compose_processes(), *kubernetes_processes(everything())]


def named(found: list[Process]) -> dict[str, Process]:
    return {f"{'kubernetes' if '/' in one.name else 'compose'} {one.name}": one for one in found}


PROCESSES = named(processes())


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: str(folder.relative_to(KUBERNETES)))
def test_kubernetes_accepts_each_kustomization(folder: object) -> None:
    assert folder in KUSTOMIZATIONS
    for document in render(folder):  # type: ignore[arg-type]
        if document["apiVersion"].startswith("keda.sh/"):
            jsonschema.validate(document, SCALED_OBJECT)
        else:
            for release in RELEASES:
                kubernetes_validate.validate(document, release, strict=True)


#: The part of KEDA's own definition of a ScaledObject (v1alpha1) that ours use.
SCALED_OBJECT = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "kind": {"const": "ScaledObject"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["scaleTargetRef", "triggers"],
            "properties": {
                "scaleTargetRef": {
                    "type": "object",
                    "required": ["name"],
                    "additionalProperties": False,
                    "properties": {key: {"type": "string"} for key in ("apiVersion", "kind", "name")},
                },
                **{
                    key: {"type": "integer"}
                    for key in ("minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod")
                },
                "advanced": {"type": "object"},
                "triggers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["type", "metadata"],
                        "properties": {
                            "type": {"const": "prometheus"},
                            "metadata": {
                                "type": "object",
                                "required": ["serverAddress", "query", "threshold"],
                                "additionalProperties": {"type": "string"},
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_the_compose_file_follows_the_specification() -> None:
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    found = compose()
    jsonschema.validate(found, json.loads(schema.read_text()))
    for name, service in found["services"].items():
        secrets = {one if isinstance(one, str) else one["source"] for one in service.get("secrets", ())}
        volumes = {one.partition(":")[0] for one in service.get("volumes", ())}
        for group, used in (
            ("secrets", secrets),
            ("volumes", volumes),
            ("networks", set(service["networks"])),
            ("services", set(service.get("depends_on", ()))),
        ):
            assert used <= found[group].keys(), f"{name}: {group}"
        read = {
            value.removeprefix("/run/secrets/")
            for key, value in (service.get("environment") or {}).items()
            if str(value).startswith("/run/secrets/")
        }
        also = {"broker_definitions"} if name == "broker" else set()
        assert read == secrets - also, f"{name}: a secret is not given, or not used"


def test_each_image_is_pinned() -> None:
    base = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.M)
    images = [*base, *(service["image"] for service in compose()["services"].values())]
    images += [one["image"] for document in everything() for one in containers(document)]
    assert [image for image in images if not PINNED.match(image.replace("postgres:17.5-", "postgres:17.5.0-"))] == []
    # Everything else in the Dockerfile is a stage of it.
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.M)
    assert len(base) == 1
    assert len(stages) == len(re.findall(r"^FROM", DOCKERFILE, re.M))
    assert {source for source, _ in stages} <= {"${PYTHON}", *(name for _, name in stages)}
    assert {image.rpartition(":")[2] for image in images if "exchequer-" in image} == {limits.VERSION}
    assert f"prepare-{limits.VERSION.replace('.', '-')}" in {document["metadata"]["name"] for document in everything()}


def test_the_dockerfile_runs_as_nobody_special_and_installs_by_hash() -> None:
    final = [name for _, name in re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.M)][-2:]
    assert final == ["web", "worker"]
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.M) == ["10001:10001"]
    assert not re.findall(r"^(?:ADD|SHELL|ENTRYPOINT)\b|sudo|apt-get|:latest|curl|wget", DOCKERFILE, re.M)
    installs = re.findall(r"pip (?:.*\\\n)*?.*install(?:.*\\\n)*.*", DOCKERFILE)
    assert len(installs) == 2
    assert all("--require-hashes" in one and "--no-cache-dir" in one for one in installs)
    for line in re.findall(r"^\s*CMD (\[.+\])$", DOCKERFILE, re.M):
        assert fault_of(json.loads(line)) == ""
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.M))
    kept = set(re.findall(r"^!(\w+)$", (DEPLOY / "docker/Dockerfile.dockerignore").read_text(), re.M))
    assert copied == kept
    assert all((ROOT / folder).is_dir() for folder in copied)


@pytest.mark.parametrize("image", ["web", "worker"])
def test_the_images_hold_the_packages_that_are_tested(image: str) -> None:
    """Change `pyproject.toml` or `constraints.txt`, then run `make locks`."""
    text = (DEPLOY / f"docker/requirements-{image}.txt").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", text, re.M))
    tested = {normal(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", CONSTRAINTS, re.M)}
    assert {name: version for name, version in pinned.items() if tested.get(normal(name), version) != version} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["reading"]
    wanted += project["optional-dependencies"]["worker"] if image == "worker" else []
    names = {normal(re.match(r"[\w.-]+", one)[0]) for one in wanted} - {"exchequer"}  # type: ignore[index]
    assert names - {normal(name) for name in pinned} == set()
    assert ("torch" in pinned) == (image == "worker")
    assert text.count("--hash=sha256:") >= len(pinned)
    assert "://" not in text


CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_nothing_runs_with_more_rights_than_it_needs() -> None:
    for document in everything():
        pod = pod_of(document)
        if pod is None:
            continue
        who = identity(document)
        assert pod["automountServiceAccountToken"] is False, who
        assert pod["securityContext"]["runAsNonRoot"] is True, who
        assert pod["securityContext"]["runAsUser"] >= 10_000, who
        in_nodes = document["metadata"]["namespace"] == "exchequer-nodes"
        assert pod["securityContext"]["seccompProfile"]["type"] == ("Unconfined" if in_nodes else "RuntimeDefault"), who
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), who
        assert not [one for one in pod["volumes"] if "hostPath" in one], who
        volumes = {one["name"] for one in pod["volumes"]}
        volumes |= {one["metadata"]["name"] for one in document["spec"].get("volumeClaimTemplates", ())}
        for container in containers(document):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, who
            assert context["readOnlyRootFilesystem"] is True, who
            assert context["capabilities"]["drop"] == ["ALL"], who
            assert {"requests", "limits"} <= container["resources"].keys(), who
            assert {one["name"] for one in container["volumeMounts"]} <= volumes, who
    for service in (one.spec for one in compose_processes()):
        assert service["read_only"] is True
        assert service["user"] == "10001:10001"
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert "HEALTHCHECK" in DOCKERFILE


def test_selectors_policies_and_scalers_find_what_they_name() -> None:
    documents = everything() + render(KUBERNETES / "autoscaling/hpa")
    pods = [
        (one["metadata"]["namespace"], one["spec"]["template"]["metadata"]["labels"])
        for one in documents
        if pod_of(one) is not None
    ]
    workloads = {identity(one) for one in documents if pod_of(one) is not None}
    for one in documents:
        space, spec = one["metadata"].get("namespace"), one.get("spec", {})
        selectors = {
            "Service": spec.get("selector"),
            "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
        }
        if one["kind"] in selectors:
            chosen = selectors[one["kind"]]
            assert any(where == space and chosen.items() <= labels.items() for where, labels in pods), identity(one)
        if one["kind"] == "NetworkPolicy":
            for rule in spec["podSelector"].get("matchExpressions", ()):
                here = {labels.get(rule["key"]) for where, labels in pods if where == space}
                assert set(rule["values"]) <= here, identity(one)
        if target := spec.get("scaleTargetRef"):
            assert (target["kind"], space, target["name"]) in workloads, identity(one)
    denied = {
        one["metadata"]["namespace"]
        for one in documents
        if one["kind"] == "NetworkPolicy" and not one["spec"]["podSelector"]
    }
    assert denied == {space for space, _ in pods}
    queries = [one["spec"]["triggers"][0]["metadata"]["query"] for one in documents if one["kind"] == "ScaledObject"]
    metrics = (ROOT / "config/monitoring/metrics.py").read_text()
    named = {f"exchequer_{what}_wanted" for what in ("devices", "nodes") if 'f"exchequer_{what}_wanted"' in metrics}
    assert {re.findall(r"exchequer_\w+", query)[0] for query in queries} == named


def test_no_secret_stands_in_a_manifest() -> None:
    for path in KUBERNETES.rglob("*.yaml"):
        if path.name != "kustomization.yaml":
            assert "Secret" not in {one["kind"] for one in load(path)}, path
    for process in PROCESSES.values():
        for name, value in process.variables.items():
            if name.removesuffix("_FILE") in env_secrets():
                assert value.startswith(("secret:", "/run/secrets/")) or value == "", f"{process.name}: {name}"


@cache
def env_secrets() -> frozenset[str]:
    fields = env.Environment.model_fields
    return frozenset(
        {*(str(fields[name].validation_alias) for name in env.variables.SECRETS), *OPERATOR_SECRETS.values()}
    )


@pytest.mark.parametrize("pool", ["node-cpu", "node-gpu"])
def test_the_worker_of_a_pool_never_sees_the_token_of_the_pool(pool: str) -> None:
    (document,) = (one for one in everything() if identity(one) == ("StatefulSet", "exchequer-nodes", pool))
    pod = pod_of(document) or {}
    (join,), (worker,) = pod["initContainers"], pod["containers"]
    secrets = {one["name"]: one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
    assert secrets == {"pool": f"exchequer-{pool}"}
    assert f"--pool={pool}" in join["command"], "its names begin with that of the StatefulSet, as those of its pods do"
    mounted = {one["name"]: one.get("readOnly", False) for one in worker["volumeMounts"]}
    assert "pool" not in mounted
    assert mounted["credentials"] is True
    assert node_join.member_of(pool, f"{pool}-3") == f"{pool}-3"


def test_a_worker_without_credentials_of_a_node_does_not_start() -> None:
    given = {"PATH": "/usr/bin", "SECRET_KEY": "x" * 40, "DATABASE_URL": "postgresql://exchequer_app:x@127.0.0.1/x"}
    command = [sys.executable, "-m", "deploy.server.worker", "node"]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Join with `manage.py node join`" in done.stderr


@pytest.mark.parametrize("name", PROCESSES)
def test_each_process_exists_and_gets_the_settings_that_it_needs(name: str) -> None:
    process = PROCESSES[name]
    assert fault_of(process.command) == ""
    known = {*env.NAMES, *(f"{one}_FILE" for one in env.NAMES), *OTHERS}
    assert set(process.variables) <= known
    if "deploy.server.fetcher" in process.command:
        assert not set(process.variables) - {"EXCHEQUER_OUTBOUND_ALLOW", "EXCHEQUER_OUTBOUND_CA"}
        return
    urls = {one for one in DATABASE_URLS.values() if {one, f"{one}_FILE"} & process.variables.keys()}
    if "deploy.server.prepare" in process.command:
        assert urls == set(DATABASE_URLS.values())
        return
    if "join" in process.command:
        assert set(process.variables) == {"EXCHEQUER_OPERATOR_PUBLIC_URL"}, (
            "it has the token in a file, and nothing else"
        )
        return
    if "deploy.server.admit" in process.command:
        assert urls == {DATABASE_URLS["owner"]}
        signs = {"SECRET_KEY", "SECRET_KEY_FILE"} & process.variables.keys()
        assert bool(signs) == ("--serving" in process.command)
        return
    role: DatabaseRole = process.variables["EXCHEQUER_DB_ROLE"]  # type: ignore[assignment]
    joined = "deploy.server.worker" in process.command and "node" in process.command
    serves = "deploy.server.serving" in process.command
    own = set() if joined or serves else {DATABASE_URLS[role]}
    assert urls == own, "a process holds the database URL of its own role alone; a node that of its own login"
    settings = env.read((CREDENTIALS if joined or serves else {}) | filled(process))
    assert settings.database_url(role)
    assert settings.db_role == (
        "operator" if "operator" in name else "control" if re.search("ops|controller", name) else "app"
    )
    on_a_node = process.image.partition(":")[0].endswith("worker")
    assert on_a_node == bool(re.search("node|serving", name)), "torch is where it is used"
    if on_a_node:
        assert settings.node_id
    elif role == "operator":
        assert (
            not {"S3_ENDPOINT_URL", "BROKER_URL", "BROKER_URL_FILE", "SECRET_KEY", "EXCHEQUER_MASTER_KEY_FILE"}
            & process.variables.keys()
        )


def test_the_web_server_reaches_serving_where_it_listens() -> None:
    """A person tries an endpoint in a page: the web server asks serving under its name in the network of both."""
    (beside,) = (one for one in compose_processes() if one.name == "web")
    assert urlsplit(beside.variables["EXCHEQUER_SERVING_URL"]).netloc == _listens("serving", beside.spec["networks"])
    documents = everything()
    (web_pod,) = (one for one in kubernetes_processes(documents) if one.name == "web/web")
    host, _, port = urlsplit(web_pod.variables["EXCHEQUER_SERVING_URL"]).netloc.partition(":")
    (service,) = (one for one in documents if one["kind"] == "Service" and one["metadata"]["name"] == host)
    assert service["spec"]["selector"] == {"app.kubernetes.io/name": "serving"}
    assert port in {str(one["port"]) for one in service["spec"]["ports"]}
    policies = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    web, serving = ({"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}} for name in ("web", "serving"))
    open_port = [{"protocol": "TCP", "port": int(port)}]
    assert {**web, "policyTypes": ["Egress"], "egress": [{"to": [serving], "ports": open_port}]} in policies
    assert {**serving, "policyTypes": ["Ingress"], "ingress": [{"from": [web], "ports": open_port}]} in policies


def _listens(name: str, networks: list[str]) -> str:
    (process,) = (one for one in compose_processes() if one.name == name)
    assert set(process.spec["networks"]) & set(networks)
    return f"{name}:{process.command[process.command.index('--port') + 1]}"


#: What the file that `--credentials` names adds. With it the settings refuse a key of the platform.
CREDENTIALS = {
    "DATABASE_URL": "postgresql://exchequer_node_1:x@database/exchequer",
    node_settings.SECRET: "x" * 43,
    node_settings.PLATFORM: "https://exchequer.example",
}


def filled(process: Process) -> dict[str, str]:
    """Return the variables as the process sees them, with secrets of the right form."""
    values = {}
    for key, value in process.variables.items():
        name = key.removesuffix("_FILE")
        if value.startswith(("secret:", "/run/secrets/")):
            kept = {"EXCHEQUER_MASTER_KEY": KEY, "EXCHEQUER_AUDIT_KEY": KEY, "EMAIL_URL": "smtp://mail.example:587"}
            values[name] = kept.get(name, "a-secret-of-at-least-32-characters-as-it-is")
        else:
            values[name] = value
    return values


def fault_of(command: list[str]) -> str:
    """Return why a command is not an entry point of ours; empty if it is one."""
    program, *rest = command
    if program != "python" or not rest:
        return f"{command} is not run by python"
    if rest[0] == "manage.py":
        return "" if rest[1] in get_commands() else f"manage.py has no {rest[1]}"
    flag, module, *options = rest
    if flag != "-m" or not module.startswith("deploy.") or find_spec(module) is None:
        return f"{module} does not exist"
    shown = usage_of(module)
    unknown = [one for one in options if one.startswith("--") and one not in shown]
    words = [
        one
        for before, one in zip(["", *options], options, strict=False)
        if not before.startswith("--") and one[0] != "-"
    ]
    return (
        f"{module} has no {unknown}" if unknown else "" if all(one in shown for one in words) else f"{module}: {words}"
    )


@cache
def usage_of(module: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("name", PROCESSES)
def test_each_process_is_asked_whether_it_works(name: str) -> None:
    """Compose: a check of its own, or that of the image where it is the image's own process. Kubernetes: probes, but for a job."""
    spec = PROCESSES[name].spec
    if name.startswith("compose"):
        check = spec.get("healthcheck")
        if check is None:
            assert name == "compose web"
        elif not check.get("disable"):
            assert fault_of(check["test"][1:]) == ""
        return
    probes = [spec[kind] for kind in ("livenessProbe", "readinessProbe", "startupProbe") if kind in spec]
    assert bool(probes) == (not re.search("prepare|/join|/admit", name))
    ports = {one["containerPort"] for one in spec.get("ports", ())}
    for probe in probes:
        assert probe["httpGet"]["port"] in ports if "httpGet" in probe else fault_of(probe["exec"]["command"]) == ""


def test_the_files_are_plain_yaml() -> None:
    """No key stands twice in a map: the last would win in silence."""
    for path in [DEPLOY / "compose.yaml", *KUBERNETES.rglob("*.yaml")]:
        assert list(yaml.load_all(path.read_text(), Loader=OnceLoader))


class OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Document:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: {keys}"
        return super().construct_mapping(node, deep)  # type: ignore[return-value]
