"""A complete serving node for a figure: real PostgreSQL, object store, tenant, key, money and monitoring, all on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.contracts import make_tenant, open_contract
from bench.rows import Options
from deploy.local.services import SEAWEED_PORTS, SeaweedFS, free_ports

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "bench"
FEATURES = 30
NETWORK = {"numeric": FEATURES, "codes": [], "outputs": 1, "layers": 3, "width": 1568, "dropout": 0.1}
"""4.97 million parameters."""
ASSIGN = "import django; django.setup(); from compute.scheduling import slots; slots.assign_slots()"


def write_model(home: Path) -> None:
    """Write the network with random weights, once in the product's format and once for the peers."""
    import torch
    from safetensors.torch import save_file

    from models_app.recipes.tabular.features import Feature
    from models_app.recipes.tabular.network import TabularNet
    from models_app.serving.engine.loader import SIGNATURE, WEIGHTS

    torch.manual_seed(7)
    net = TabularNet(**NETWORK)
    torch.nn.init.normal_(net.head.weight, std=0.3)
    home.mkdir(exist_ok=True)
    save_file(dict(net.state_dict()), home / WEIGHTS)
    torch.save({"network": NETWORK, "weights": net.state_dict()}, home / "peers.pt")
    signature = {
        "format": 1, "inputs": [Feature(f"x{at}", "numeric").to_json() for at in range(FEATURES)], "classes": [],
        "network": NETWORK, "target": {"name": "y", "kind": "numeric", "mean": 0.0, "scale": 1.0},
    }  # fmt: skip
    (home / SIGNATURE).write_text(json.dumps(signature))


def deploy(environment: dict[str, Any], home: Path) -> tuple[UUID, UUID, str]:
    """Register the model in `home` as a training does and deploy it; return tenant, endpoint and an endpoint key."""
    from django.conf import settings
    from django.test import override_settings

    from models_app.endpoints import deployments, endpoint_keys
    from tenants.access.actor import Actor
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Membership

    tenant = make_tenant("Serving", "serving@example.org")
    open_contract(tenant.id)
    with tenant_scope(tenant.id):
        owner = Membership.objects.select_related("user").get()
    actor = Actor.member(tenant_id=tenant.id, user_id=owner.user_id, email=owner.user.email, role="owner")
    names = ("S3_ENDPOINT_URL", "S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    store = {name.lower(): environment[name] for name in names}
    with override_settings(EXCHEQUER=settings.EXCHEQUER.model_copy(update=store)):
        version = _version(actor, home)
    # Requests are admitted however long they wait, because the peers refuse none either.
    endpoint = deployments.deploy(actor=actor, name="bench", version_id=version, slo_ms=10_000)
    key = endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name="bench").secret
    return tenant.id, endpoint.id, key


def _version(actor: Any, home: Path) -> UUID:
    import numpy as np

    from models_app.measures.baseline import baseline
    from models_app.models import Dataset, DatasetVersion, Model, ModelVersion
    from models_app.object_store import storage
    from models_app.serving.engine.loader import SIGNATURE, WEIGHTS
    from tenants.ids import uuid7
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Project

    chance = np.random.default_rng(1)
    columns = {f"x{at}": ("numeric", chance.normal(size=1000)) for at in range(FEATURES)}
    learned = baseline(columns, 1000, predicted=chance.normal(size=1000))
    stored = {
        file: storage.put(actor.tenant_id, storage.new_key(actor.tenant_id, "m"), home / file)
        for file in (WEIGHTS, SIGNATURE)
    }
    by = {"created_by_label": actor.label}
    with tenant_scope(actor.tenant_id):
        data = DatasetVersion.objects.create(
            dataset=Dataset.objects.create(name="bench", **by), number=1, filename="data.csv", sha256="0" * 64, size=1,
            target="y", state="ready", source_key="s", data_key="d", data_sha256="0" * 64, data_size=1, rows=1000,
            uploaded_by_label=actor.label,
        )  # fmt: skip
        version = ModelVersion.objects.create(
            model=Model.objects.create(name="bench"), number=1, job_id=uuid7(), dataset_version=data,
            project_id=Project.objects.get(slug="default").id, recipe="tabular.regressor", recipe_version="1",
            recipe_digest="0" * 64, params={}, metrics={}, signature=json.loads((home / SIGNATURE).read_text()),
            baseline=learned, stage="production",
            artefact_key=stored[WEIGHTS].key, artefact_sha256=stored[WEIGHTS].sha256, artefact_size=stored[WEIGHTS].size,
            signature_key=stored[SIGNATURE].key, signature_sha256=stored[SIGNATURE].sha256,
            signature_size=stored[SIGNATURE].size, artefact_encrypted=True, signature_encrypted=True,
        )  # fmt: skip
    return UUID(str(version.id))


def assign_slots(options: Options) -> None:
    """Run the controller's part once: assign the requested slots."""
    command = [sys.executable, "-c", ASSIGN]
    subprocess.run(command, cwd=ROOT, env=options.environment("control"), check=True)


def billed(tenant: UUID, endpoint: UUID) -> int:
    """Return the requests on the endpoint's bill."""
    from django.db import connection

    from tenants.isolation.scoping import tenant_scope

    with tenant_scope(tenant), connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(e.billable), 0) FROM billing_usageevent e "
            "JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash "
            "JOIN billing_meter m ON m.tenant_id = e.tenant_id AND m.id = e.meter_id "
            "WHERE s.resource = %s AND m.key = 'inference_requests'",
            [f"endpoint:{endpoint}"],
        )
        return int(cursor.fetchone()[0])


@contextmanager
def object_store(home: Path) -> Iterator[dict[str, str]]:
    """Run an object store with a bucket; yield the variables of its clients."""
    ports = dict(zip(SEAWEED_PORTS, free_ports(len(SEAWEED_PORTS)), strict=True))
    server = SeaweedFS(home / "seaweedfs", ports, "bench-access", "bench-secret-key")
    server.prepare()
    with (home / "seaweedfs.log").open("wb") as log:
        process = subprocess.Popen(server.command(), stdout=log, stderr=log)
    try:
        _until(server.ready, "SeaweedFS")
        _until(lambda: server.make_bucket(BUCKET), "the bucket")
        yield {
            "S3_ENDPOINT_URL": server.url, "S3_BUCKET": BUCKET, "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }  # fmt: skip
    finally:
        process.terminate()
        process.wait(30)
        server.clear_sockets()


def _until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come up")
        time.sleep(0.2)
