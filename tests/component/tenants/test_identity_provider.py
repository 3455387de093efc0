"""Log-ins by providers that listen at a port of their own, over TLS, OpenID's through the real fetcher; and a name server."""

from __future__ import annotations

import http.client
import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import dns.message
import dns.rcode
import dns.rrset
import pytest
from django.db import connection
from django.test import Client

from tenants import tasks
from tenants.identity.providers import required
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Notification
from tenants.outbound.client import Answer
from tests.api.tenants.providers import steps
from tests.fakes.openid import OpenIdProvider
from tests.fakes.saml import SamlProvider
from tests.support import factories
from tests.support.pages import text_of
from tests.support.servers.fetcher import Received, Receiver, fetcher, receiver
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def write(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    """Send what a provider answers."""
    handler.send_response(answer.status)
    for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(answer.body)


def opened(server: Receiver, url: str) -> tuple[str, str]:
    """Open an address of a provider as a browser does; return where it sends the browser, and its page."""
    to = urlsplit(url)
    assert to.port == server.port
    there = http.client.HTTPSConnection(
        "localhost", to.port, timeout=20, context=ssl.create_default_context(cadata=server.authority.decode())
    )
    there.request("GET", f"{to.path}?{to.query}" if to.query else to.path)
    found = there.getresponse()
    page = found.read().decode()
    there.close()
    return found.headers.get("Location", ""), page


@pytest.mark.django_db(transaction=True)
def test_a_provider_is_asked_through_the_fetcher_alone(settings: Settings) -> None:
    with receiver() as server, fetcher(f"localhost:{server.port}", server.authority) as running:
        idp = OpenIdProvider(server.url)

        def answer(handler: BaseHTTPRequestHandler, request: Received) -> None:
            headers = {name.title(): value for name, value in request.headers.items()}
            write(handler, idp.page(request.method, request.path, headers=headers, body=request.body))

        server.answer = answer
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": running.socket})
        tenant = factories.make_tenant("ours", owner="owner@ours.example")
        steps.configure(tenant, idp)
        steps.prove(tenant)
        client = Client()
        idp.person = {"sub": "1", "email": "ada@ours.example"}
        back, _ = opened(server, client.get("/t/ours/sso/")["Location"])
        assert steps.come_back(client, back)["Location"] == "/t/ours/"
        assert client.get("/t/ours/").status_code == 200
        asked = [(one.method, one.path) for one in server.received]
        assert asked.pop(1)[1].startswith("/authorize?"), "by the browser"
        assert asked == [("GET", "/.well-known/openid-configuration"), ("POST", "/token"), ("GET", "/keys")]


def test_a_saml_provider_is_asked_by_the_browser_alone() -> None:
    with receiver() as server:
        idp = SamlProvider(sign_in=f"{server.url}/sso")
        person = {"subject": "ada-1", "email": "ada@ours.example", "displayName": "Ada"}
        server.answer = lambda handler, request: write(
            handler, Answer(200, (), idp.page(request.path, **person).encode())
        )
        tenant, owner = factories.make_tenant("ours", owner="owner@ours.example"), Client()
        owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
        form = {"kind": "saml", "name": "idp", "metadata": opened(server, f"{server.url}/metadata")[1], "enabled": "on"}
        form |= {"default_role": "viewer", "highest_role": "viewer", "just_in_time": "on"}
        assert owner.post("/t/ours/identity-provider/save/", form).status_code == 302
        steps.prove(tenant)
        client = Client()
        _, page = opened(server, client.get("/t/ours/sso/")["Location"])
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
        (to,) = re.findall(r'action="([^"]*)"', page)
        came = Client().post(urlsplit(to).path, fields)
        assert came.status_code == 302, "another site's form brings no cookie of ours"
        assert client.get(came["Location"])["Location"] == "/t/ours/"
        assert client.get("/api/v1/me/").json()["actor"]["label"] == "ada@ours.example"
        assert [one.path.partition("?")[0] for one in server.received] == ["/metadata", "/sso"]


@pytest.mark.django_db(transaction=True)
def test_an_issuer_that_the_guard_refuses_is_not_asked(settings: Settings) -> None:
    with receiver() as server, fetcher("", server.authority) as running:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": running.socket})
        tenant = factories.make_tenant("ours")
        for issuer in (server.url, "https://169.254.169.254", "https://10.0.0.1:8443"):
            steps.configure(tenant, OpenIdProvider(issuer))
            assert Client().get("/t/ours/sso/").status_code == 400
        assert server.received == []


@contextmanager
def name_server(records: dict[str, list[str]]) -> Iterator[str]:
    """Answer TXT queries on loopback; yields its HOST:PORT. A name that is not listed does not exist."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            query: Any = dns.message.from_wire(data)
            answer: Any = dns.message.make_response(query)
            name = query.question[0].name
            found = records.get(str(name).rstrip("."))
            if found is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif found:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *(f'"{text}"' for text in found)))
            socket.sendto(answer.to_wire(), self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.django_db(transaction=True)
def test_a_domain_is_proven_by_its_own_txt_record(settings: Settings) -> None:
    tenants = [factories.make_tenant(slug, owner=f"owner@{slug}.example") for slug in ("ours", "theirs")]
    owners = [Client() for _ in tenants]
    for client, tenant in zip(owners, tenants, strict=True):
        client.post("/accounts/login/", {"login": f"owner@{tenant.slug}.example", "password": factories.PASSWORD})
        assert client.post(f"/t/{tenant.slug}/identity-provider/domains/", {"name": "Ours.Example."}).status_code == 302
    records: dict[str, list[str]] = {}
    with name_server(records) as address:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"dns_server": address})

        def verify(number: int) -> str:
            tenant, client = tenants[number], owners[number]
            row = client.get("/api/v1/identity-provider/domains/").json()["results"][0]
            client.post(f"/t/{tenant.slug}/identity-provider/domains/{row['id']}/verify/")
            return text_of(client.get(f"/t/{tenant.slug}/identity-provider/"))

        assert "The TXT record is not there yet" in verify(0)
        mine = owners[0].get("/api/v1/identity-provider/domains/").json()["results"][0]
        assert mine["record_name"] == "_exchequer.ours.example"
        records["ours.example"] = [mine["record_text"]]
        assert "The TXT record is not there yet" in verify(0), "a record elsewhere proves nothing"
        records["_exchequer.ours.example"] = []
        assert "The TXT record is not there yet" in verify(0)
        records["_exchequer.ours.example"] = ["v=spf1 -all", mine["record_text"]]
        assert "The TXT record is not there yet" in verify(1), "another tenant's record is not one's own"
        assert "ours.example is verified." in verify(0)
    page = owners[1].post(f"/t/theirs/identity-provider/domains/{uuid4()}/verify/")
    assert page.status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_domain_whose_record_is_gone_for_seven_days_is_no_longer_proven(
    settings: Settings, demo_clock: DemoClock, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    tenant, idp = factories.make_tenant("ours", owner="owner@ours.example"), OpenIdProvider()
    steps.configure(tenant, idp)
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    for name in ("ours.example", "kept.example"):
        steps.prove(tenant, name)
    rows = {one["name"]: one for one in owner.get("/api/v1/identity-provider/domains/").json()["results"]}
    records = {row["record_name"]: [row["record_text"]] for row in rows.values()}

    def after(days: float) -> dict[str, Any]:
        demo_clock.advance(timedelta(days=days))
        with as_control():
            tasks.read_domains()
        owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
        found = owner.get("/api/v1/identity-provider/domains/").json()["results"]
        return {one["name"]: one for one in found}

    def told() -> list[str]:
        with tenant_scope(tenant.id):
            return list(Notification.objects.order_by("id").values_list("title", flat=True))

    with name_server(records) as address:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"dns_server": address})
        assert all(row["verified_at"] and not row["missing_since"] for row in after(1.1).values())
        del records["_exchequer.ours.example"]
        gone = after(1.1)
        assert gone["ours.example"]["missing_since"] and gone["ours.example"]["verified_at"], "it counts until then"
        assert told() == ["The TXT record of ours.example is gone"], "owners are told before"
        assert "It is no longer verified on" in text_of(owner.get("/t/ours/identity-provider/"))
        records["_exchequer.ours.example"] = [rows["ours.example"]["record_text"]]
        assert after(1.1)["ours.example"]["missing_since"] is None, "it is back"
        records["_exchequer.ours.example"] = ["another text"]
        after(1.1)
        assert after(6)["ours.example"]["verified_at"], "less than seven days"
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"dns_server": "127.0.0.1:9"})
        assert after(1.1)["ours.example"]["verified_at"], "a name server that is away proves nothing"
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"dns_server": address})
        lapsed = after(1.1)
        assert lapsed["ours.example"]["verified_at"] is None and lapsed["kept.example"]["verified_at"]
        assert told()[-1] == "ours.example is no longer verified"
    with tenant_scope(tenant.id):
        entries = set(
            AuditEntry.objects.filter(action__startswith="tenants.mail_domain.").values_list("action", flat=True)
        )
        assert not required.is_captured("ada@ours.example") and required.is_captured("ada@kept.example")
    assert {f"tenants.mail_domain.{one}" for one in ("record_gone", "record_back", "lapsed")} < entries


@pytest.mark.django_db(transaction=True)
def test_a_provider_that_hangs_holds_few_threads(settings: Settings) -> None:
    hangs = threading.Event()
    with receiver() as server, fetcher(f"localhost:{server.port}", server.authority) as running:

        def answer(handler: BaseHTTPRequestHandler, request: Received) -> int:
            hangs.wait(20)
            return 500

        server.answer = answer
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": running.socket})
        steps.configure(factories.make_tenant("ours"), OpenIdProvider(server.url))
        found: list[int] = []

        def begin() -> None:
            found.append(Client().get("/t/ours/sso/").status_code)
            connection.close()

        waiting = [threading.Thread(target=begin) for _ in range(6)]
        for one in waiting:
            one.start()
        wait_until(lambda: found.count(503) == 4, "those beyond two are turned away while two wait")
        assert len(server.received) == 2
        hangs.set()
        for one in waiting:
            one.join(30)
        assert sorted(found) == [502, 502, 503, 503, 503, 503]
