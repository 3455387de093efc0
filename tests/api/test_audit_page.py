"""The audit page and its file: acts of people first, differences as sentences, names in place of ids."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import pytest
from django.test import Client

from tenants import members, operations, queries
from tenants.actor import Actor
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab() -> tuple[Tenant, Client]:
    tenant = factories.make_tenant("lab")
    owner = factories.actor_for(tenant)
    person = factories.make_member(tenant, "viewer", "ann@example.org")
    with tenant_scope(tenant.id):
        members.change_role(actor=owner, user_id=person.id, role="finance")
    for number in range(3):
        operations.create_project(actor=owner, slug=f"p{number}", name=f"Project {number}")
    operations.create_project(actor=Actor.system(tenant.id, "ops"), slug="own", name="Made by itself")
    client = Client()
    client.force_login(person)
    return tenant, client


def table_of(answer: Any) -> list[dict[str, str]]:
    assert answer.streaming
    return list(csv.DictReader(StringIO(b"".join(answer.streaming_content).decode())))


def test_acts_of_exchequer_itself_are_shown_when_asked_for(lab: tuple[Tenant, Client]) -> None:
    _, client = lab
    usual, everything = (client.get(f"/t/lab/audit/{query}").content.decode() for query in ("", "?acts=all"))
    assert "Project 2" in usual and "Made by itself" not in usual
    assert "Made by itself" in everything
    kinds = {row["actor_type"] for row in table_of(client.get("/t/lab/audit/?export=csv"))}
    assert kinds == {"user"}
    assert {row["actor_type"] for row in table_of(client.get("/t/lab/audit/?export=csv&acts=system"))} == {"system"}


def test_a_difference_is_a_sentence_on_the_page_in_the_file_and_in_the_api(lab: tuple[Tenant, Client]) -> None:
    _, client = lab
    assert "role changed from viewer to finance" in client.get("/t/lab/audit/").content.decode()
    rows = table_of(client.get("/t/lab/audit/?export=csv&action=tenants.member."))
    assert [row["differences"] for row in rows] == ["role changed from viewer to finance"]
    answer = client.get("/api/v1/audit/?action=tenants.project.", headers={"X-Exchequer-Tenant": "lab"}).json()
    assert answer["results"][1]["differences"] == ["name set to Project 2"]


def test_the_file_is_read_page_by_page_and_leaves_nothing_out(lab: tuple[Tenant, Client]) -> None:
    tenant, _ = lab
    with tenant_scope(tenant.id):
        pages = list(queries.audit_pages(2))
        assert [row.seq for page in pages for row in page] == [row.seq for row in queries.audit_entries(limit=200)]
        assert len(pages) > 2
