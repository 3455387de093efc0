"""No secret is kept or shown in the clear: canaries are planted through the doors of a real web process, and searched for.

The doors are those of the web, the operators' console and a serving node. Searched: the logs of all three, every table as `pg_dump` writes it, every key of the broker, every stored object, the
export of the audit log, and the pages that answer an error.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus
from uuid import UUID

import boto3
import psycopg
import pytest
import redis
import requests
from django.test import Client, override_settings

from config import logging as structured
from config import settings as shipped
from config.celery import app
from models_app.object_store import storage
from tenants import tasks
from tenants.encryption import platform_secrets
from tenants.events import outbox
from tenants.identity import account_adapter, api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage
from tenants.operators import grants
from tenants.operators.operator import Operator
from tenants.operators.platform_events import spreading, webhooks
from tests.api.config.test_hosts import ROOT, served
from tests.support import factories, selling
from tests.support.console import code_of
from tests.support.endpoints import make_endpoint
from tests.support.servers.ports import free_port
from tests.support.servers.services import PASSWORDS
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import S3

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("canaries")]
#: An operator who has webhooks of the platform.
ADMIN = Operator(id=UUID(int=8), label="root@platform.example", roles=("platform_admin",))
Control = Callable[[], AbstractContextManager[None]]
PASSWORD, OPERATORS_PASSWORD = (f"canary {word} {secrets.token_hex(8)}" for word in ("password", "operators"))


@dataclass
class Walk:
    """A person in a browser at a real web process; what they planted, and what was answered."""

    url: str
    slug: str
    csrf: str = "csrftoken"
    planted: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    browser: requests.Session = field(default_factory=requests.Session)

    def plant(self, name: str, value: str) -> str:
        assert len(value) >= 8, name
        self.planted[name] = value
        return value

    def page(self, path: str, form: dict[str, Any] | None = None, *, status: int | None = None) -> str:
        where = f"{self.url}{path}"
        if form is None:
            answer = self.browser.get(where, timeout=30)
        else:
            data = {**form, "csrfmiddlewaretoken": self.browser.cookies.get(self.csrf) or ""}
            answer = self.browser.post(where, data, headers={"Origin": self.url, "Referer": where}, timeout=30)
        assert status is None or answer.status_code == status, (path, answer.status_code, answer.text[:300])
        if answer.status_code >= 400:
            self.errors.append(answer.text)
        return answer.text

    def api(self, method: str, path: str, body: Any = None, *, key: str = "", **headers: str) -> requests.Response:
        own = {"Authorization": f"Bearer {key}"} if key else {"X-Exchequer-Tenant": self.slug}
        if not key:
            own |= {"X-CSRFToken": self.browser.cookies.get(self.csrf) or "", "Origin": self.url, "Referer": self.url}
        client = requests if key else self.browser
        answer = client.request(method, f"{self.url}{path}", json=body, headers=own | headers, timeout=30)
        if answer.status_code >= 400:
            self.errors.append(answer.text + str(answer.headers))
        return answer

    def made(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        answer = self.api(method, path, body, **more)
        assert answer.status_code in (200, 201), (path, answer.text)
        found: dict[str, Any] = answer.json()
        return found


def log_in_and_secure(walk: Walk, email: str, password: str) -> None:
    """Log in after a wrong password, change the password, and set up an authenticator app with recovery codes."""
    walk.page("/accounts/login/")
    walk.page("/accounts/login/", {"login": email, "password": walk.plant("wrong password", f"wrong {password}")})
    walk.page("/accounts/login/", {"login": email, "password": walk.plant("password", password)}, status=200)
    changed = walk.plant("changed password", f"changed {password}")
    form = {"oldpassword": password, "password1": changed, "password2": changed}
    walk.page("/accounts/password/change/")
    walk.page("/accounts/password/change/", form | {"password2": "different"})
    walk.page("/accounts/password/change/", form, status=200)
    walk.page("/accounts/reauthenticate/", {"password": changed})
    shown = walk.page("/accounts/2fa/totp/activate/")
    found = re.search(r"\b[A-Z2-7]{32}\b", shown)
    assert found is not None, shown[:2000]
    secret = walk.plant("TOTP secret", found[0])
    walk.page("/accounts/2fa/totp/activate/", {"code": "000000"})
    codes = walk.page("/accounts/2fa/totp/activate/", {"code": code_of(secret)}, status=200)
    codes += walk.page("/accounts/2fa/recovery-codes/")
    for number, code in enumerate(
        sorted(set(re.findall(r"\b[0-9a-f]{8}\b|\b[0-9]{8}\b", re.sub("<[^>]+>", " ", codes))))[:10]
    ):
        walk.plant(f"recovery code {number}", code)
    assert "recovery code 0" in walk.planted


def make_credentials(walk: Walk, endpoint_id: Any) -> str:
    """Make one of each credential by the API, use each rightly and wrongly; return the API key."""
    scopes = ["tenant.view", "apikeys.manage", "webhooks.manage", "endpoints.manage", "audit.view", "audit.export"]
    scopes += ["members.manage", "jobs.view", "datasets.create", "datasets.view"]
    made = walk.made("POST", "/api/v1/api-keys/", {"name": "canary", "scopes": scopes})
    key = walk.plant("API key", made["key"])
    walk.plant("rotated API key", walk.made("POST", f"/api/v1/api-keys/{made['id']}/rotate/", {})["key"])
    where = f"/api/v1/endpoints/{endpoint_id}/keys/"
    walk.plant("endpoint key", walk.made("POST", where, {"name": "canary"}, key=key)["key"])
    hook = {"name": "canary", "url": f"https://hooks.example/{walk.plant('webhook path', secrets.token_hex(12))}"}
    made = walk.made("POST", "/api/v1/webhooks/", hook | {"types": ["member.added"]}, key=key)
    walk.plant("webhook secret", made["secret"])
    walk.plant("new webhook secret", walk.made("POST", f"/api/v1/webhooks/{made['id']}/secret/", {}, key=key)["secret"])
    provider = {"kind": "oidc", "name": "idp", "issuer": "https://idp.example", "client_id": "canary"}
    provider["client_secret"] = walk.plant("provider secret", secrets.token_urlsafe(24))
    assert walk.api("PUT", "/api/v1/identity-provider/", provider).status_code in (200, 201)
    token = walk.made("POST", "/api/v1/identity-provider/scim-tokens/", {"name": "canary"})
    scim = walk.plant("SCIM token", token["token"])
    walk.api("GET", "/scim/v2/Users", key=scim)
    walk.api(
        "POST",
        "/scim/v2/Users",
        {"userName": "a@b.example", "password": walk.plant("SCIM password", "canary-scim-pw-1")},
        key=scim,
    )
    walk.made("POST", "/api/v1/invitations/", {"email": "new@lab.example", "role": "viewer"})
    # And wrongly: in the path, in the query, as another field, beside a broken body, behind another scheme.
    for secret in (key, scim, walk.planted["endpoint key"]):
        walk.api("GET", "/api/v1/jobs/", key=f"{secret}x")
        walk.api("GET", "/api/v1/me/", key=secret)
        walk.api("POST", "/api/v1/api-keys/", {"name": "x", "scopes": [secret]}, key=key)
        walk.api("POST", "/api/v1/api-keys/", {secret: "x"}, key=key)
        requests.get(f"{walk.url}/api/v1/me/", headers={"Authorization": f"Basic {secret}"}, timeout=30)
        requests.post(f"{walk.url}/api/v1/api-keys/", "{", headers={"Authorization": f"Bearer {secret}"}, timeout=30)
    walk.api("PUT", "/api/v1/identity-provider/", provider | {"kind": "none"})
    return key


def work_at_the_console(walk: Walk, email: str) -> None:
    """Log in as an operator, make a key of one's own, and use it rightly and wrongly."""
    log_in_and_secure(walk, email, OPERATORS_PASSWORD)
    shown = walk.page("/keys/", {"name": "canary", "roles": "platform_admin", "days": "90"}, status=200)
    found = re.search(r"\bxop_[\w-]+", shown)
    assert found is not None, shown[:2000]
    key = walk.plant("operator key", found[0])
    assert walk.api("GET", "/api/operator/v1/me/", key=key).status_code == 200
    misuse(walk, key, "/api/operator/v1/tenants/")
    walk.api(
        "POST", "/api/operator/v1/webhooks/", {"name": key, "url": f"https://x.example/{key}", "types": [key]}, key=key
    )


def ask_the_node(walk: Walk, key: str) -> None:
    """Ask a serving node with the key of an endpoint that it does not serve, and in wrong places."""
    for where in ("/v1/models/churn:predict", f"/v1/models/{key}:predict", f"/v2/models/churn/infer?key={key}"):
        answer = walk.api("POST", where, {"instances": [[1.0]], key: key}, key=key)
        assert 400 <= answer.status_code < 600, answer.text
        misuse(walk, key, where)


def misuse(walk: Walk, key: str, path: str) -> None:
    """Send a key with a letter too many, behind another scheme, as a field, and beside a broken body."""
    walk.api("GET", path, key=f"{key}x")
    walk.api("POST", path, {key: "x", "name": key}, key=key)
    requests.get(f"{walk.url}{path}", headers={"Authorization": f"Basic {key}"}, timeout=30)
    requests.post(f"{walk.url}{path}", "{", headers={"Authorization": f"Bearer {key}"}, timeout=30)


def stored(admin: psycopg.Connection, s3: S3, valkey: str) -> dict[str, bytes]:
    """Return what is kept, by place: every table as a dump writes it, every object, every key of the broker."""
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    found = {}
    for (table,) in admin.execute(tables).fetchall():
        with admin.cursor().copy(f"COPY {table} TO STDOUT") as rows:
            found[f"table {table}"] = b"".join(bytes(part) for part in rows)
    store = boto3.client(
        "s3", endpoint_url=s3.endpoint_url, region_name="us-east-1",
        aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key,
    )  # fmt: skip
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket):
        for one in page.get("Contents", []):
            found[f"object {one['Key']}"] = store.get_object(Bucket=s3.bucket, Key=one["Key"])["Body"].read()
    with redis.Redis.from_url(valkey) as broker:
        for name in broker.scan_iter():
            found[f"broker {name!r}"] = name + bytes(broker.dump(name) or b"") + _values(broker, name)
    return found


def _values(broker: Any, name: bytes) -> bytes:
    kind = broker.type(name)
    if kind == b"list":
        return b"".join(broker.lrange(name, 0, -1))
    if kind == b"hash":
        return b"".join(part for pair in broker.hgetall(name).items() for part in pair)
    return b"".join(broker.smembers(name)) if kind == b"set" else broker.get(name) or b""


def shapes(secret: str) -> set[bytes]:
    """Return how a secret may stand in a text: as it is, in JSON, in a URL, in base64, and in the hexadecimal of a dump."""
    plain = secret.encode()
    whole = base64.b64encode(plain).rstrip(b"=")
    return {
        plain,
        json.dumps(secret)[1:-1].encode(),
        quote(secret).encode(),
        quote_plus(secret).encode(),
        whole[:-1],
        plain.hex().encode(),
    }


@contextmanager
def serving(environment: dict[str, str], port: int, folder: Path) -> Iterator[None]:
    """Run a serving node on a port while the block runs."""
    command = [sys.executable, "-m", "deploy.server.serving", "--port", str(port)]
    with (folder / "serving.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def answers() -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code < 500
        return False

    try:
        wait_until(answers, "the serving node")
        yield
    finally:
        process.terminate()
        process.wait(30)


def hits(planted: dict[str, str], places: dict[str, bytes]) -> list[tuple[str, str]]:
    return [
        (name, place)
        for name, secret in planted.items()
        for place, content in places.items()
        if any(shape in content for shape in shapes(secret))
    ]


def test_no_secret_is_kept_or_shown_in_the_clear(
    process_environment: Callable[..., dict[str, str]],
    as_control: Control,
    superuser: psycopg.Connection,
    s3: S3,
    own_valkey: str,
    tmp_path: Path,
) -> None:
    tenant = factories.make_tenant("lab")
    with override_settings(PASSWORD_HASHERS=shipped.PASSWORD_HASHERS):
        owner = factories.make_member(tenant, "owner")
        owner.set_password(PASSWORD)
        owner.save()
        with as_control():
            platform_secrets.provide()
            grants.grant(ADMIN.label, "platform_admin", password=OPERATORS_PASSWORD)
    endpoint, port = make_endpoint(tenant), free_port()
    walk = Walk(f"http://127.0.0.1:{port}", "lab")
    mail_password = walk.plant("SMTP password", "canary-smtp-password-1")
    walk.plant("S3 secret key", s3.secret_key)
    walk.plant("database password", PASSWORDS["exchequer_app"])
    walk.plant("secret key", os.environ["SECRET_KEY"])
    walk.plant("master key", os.environ["EXCHEQUER_MASTER_KEY"])
    storage.ensure_bucket()
    environment = process_environment(
        BROKER_URL=own_valkey, S3_ENDPOINT_URL=s3.endpoint_url, S3_BUCKET=s3.bucket,
        AWS_ACCESS_KEY_ID=s3.access_key, AWS_SECRET_ACCESS_KEY=s3.secret_key,
        EMAIL_URL=f"smtp://canary:{mail_password}@127.0.0.1:{free_port()}",
    )  # fmt: skip
    with served(environment, port, tmp_path):
        log_in_and_secure(walk, owner.email, PASSWORD)
        key = make_credentials(walk, endpoint.id)
        upload = {"file": ("canary.csv", b"a,t\n1,x\n2,y\n", "text/csv")}
        requests.post(f"{walk.url}/api/v1/datasets/", {"name": "canary", "target": "t"}, files=upload,
                      headers={"Authorization": f"Bearer {key}"}, timeout=30)  # fmt: skip
        walk.page("/accounts/logout/", {})
        walk.page("/accounts/password/reset/")
        walk.page("/accounts/password/reset/", {"email": owner.email}, status=200)
        exported = requests.get(
            f"{walk.url}/api/v1/audit/export/", headers={"Authorization": f"Bearer {key}"}, timeout=30
        )
        assert exported.status_code == 200 and b"tenants.api_key.created" in exported.content
        with tenant_scope(tenant.id):
            waiting = list(OutboxMessage.objects.values_list("id", flat=True))
        assert waiting
        with override_settings(CELERY_BROKER_URL=own_valkey), app.connection_for_write(own_valkey) as link:
            for message in waiting:  # as the relay wakes the ops worker
                tasks.deliver.apply_async((str(message), str(tenant.id)), connection=link)
    desk = Walk(f"http://127.0.0.1:{port}", "lab", csrf="exchequer-operator-csrf")
    console_key = walk.plant("secret key of the console", secrets.token_hex(25))
    at_the_console = process_environment("operator", EXCHEQUER_OPERATOR_SECRET_KEY=console_key)
    del at_the_console["SECRET_KEY"]
    (tmp_path / "console").mkdir()
    with served(at_the_console, port, tmp_path / "console"):
        work_at_the_console(desk, ADMIN.label)
    with serving(environment | {"EXCHEQUER_HOME": str(tmp_path / "home")}, port, tmp_path):
        ask_the_node(walk, walk.planted["endpoint key"])
    with as_control():
        outbox.drain(tenant.id)
    with selling.role("exchequer_operator"):
        hook = f"https://hooks.example/{walk.plant('platform webhook path', secrets.token_hex(12))}"
        made = webhooks.create(operator=ADMIN, name="canary", url=hook, types=["node.lost"])
        walk.plant("platform webhook secret", made.secret)
        renewed = webhooks.rotate_secret(operator=ADMIN, webhook_id=made.webhook.id)
        walk.plant("new platform webhook secret", renewed.secret)
        webhooks.send_test(operator=ADMIN, webhook_id=made.webhook.id)
    with as_control():
        spreading.spread()
    places = stored(superuser, s3, own_valkey) | {"export of the audit log": exported.content}
    walk.planted |= {f"operator's {name}": secret for name, secret in desk.planted.items()}
    places |= {f"log {path.relative_to(tmp_path)}": path.read_bytes() for path in tmp_path.rglob("*.log")}
    places |= {f"error {number}": text.encode() for number, text in enumerate((*walk.errors, *desk.errors))}
    assert any(name.startswith("broker") for name in places) and any(name.startswith("object") for name in places)
    assert places["log web.log"] and places["log console/web.log"] and places["log serving.log"]
    assert len(walk.errors) >= 10 and len(desk.errors) >= 3 and len(walk.planted) >= 30
    assert hits(walk.planted, places) == []
    # The search itself finds what lies open: the address of the person, in tables, the export and the pages.
    assert {place for _, place in hits({"address": owner.email}, places)} >= {"table tenants_user"}


def test_a_page_of_an_error_and_its_log_line_hold_nothing_of_the_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = factories.make_tenant("lab")
    key, password = factories.make_api_key(tenant), f"canary {secrets.token_hex(8)}"

    def fail(**given: Any) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(api_keys, "create_api_key", fail)
    monkeypatch.setattr(account_adapter.AccountAdapter, "authenticate", lambda self, request, **given: fail())
    handler = logging.StreamHandler(io.StringIO())
    formatter = structured.config(debug=False)["formatters"]["json"]
    handler.setFormatter(
        formatter["()"](processors=formatter["processors"], foreign_pre_chain=formatter["foreign_pre_chain"])
    )
    logging.getLogger().addHandler(handler)
    try:
        client = Client(raise_request_exception=False)
        by_api = client.post(
            f"/api/v1/api-keys/?token={key}", {"name": password, "scopes": ["jobs.view"]}, "application/json",
            headers={"Authorization": f"Bearer {key}"},
        )  # fmt: skip
        broken = client.post(
            "/api/v1/api-keys/", {"name": password, "scopes": ["jobs.view"]}, "application/json",
            headers={"Authorization": f"Bearer {key}"},
        )  # fmt: skip
        by_form = client.post("/accounts/login/", {"login": "a@b.example", "password": password})
    finally:
        logging.getLogger().removeHandler(handler)
    assert (by_api.status_code, broken.status_code, by_form.status_code) == (400, 500, 500)
    said = {"log": handler.stream.getvalue().encode(), "standard error": capsys.readouterr().err.encode()}
    assert b"it broke" in said["log"]
    said |= {f"page {number}": one.content for number, one in enumerate((by_api, broken, by_form))}
    assert hits({"key": key, "password": password}, said) == []
