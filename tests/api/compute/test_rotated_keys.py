"""A key that replaced others owns what they made: their jobs, their restricted data, their repeated requests."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.test import Client

from compute.models import Job
from models_app.models import Dataset
from tenants.identity.api_keys import create_api_key
from tenants.identity.authentication import actor_today
from tenants.isolation.scoping import tenant_scope
from tests.api.objects import launchable
from tests.support import factories

pytestmark = pytest.mark.django_db(transaction=True)
SCOPES = ["apikeys.manage", "datasets.view", "jobs.cancel", "jobs.launch", "jobs.view"]


class Program:
    """A program that calls the API with a key."""

    def __init__(self, key: str) -> None:
        self.headers = {"Authorization": f"Bearer {key}"}

    def get(self, path: str) -> Any:
        return Client().get(f"/api/v1/{path}", headers=self.headers)

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return Client().post(f"/api/v1/{path}", body or {}, content_type="application/json", headers=given)

    def rotated(self) -> Program:
        answer = self.post(f"api-keys/{self.get('me/').json()['actor']['id']}/rotate/", {"overlap_hours": 0})
        assert answer.status_code == 201, answer.content
        return Program(answer.json()["key"])

    def datasets(self) -> int:
        return len(self.get("datasets/").json()["results"])


def test_the_successor_of_a_successor_owns_what_the_first_key_made() -> None:
    tenant = factories.make_tenant("lab")
    order, engineer = launchable(tenant), factories.actor_for(tenant, "owner")
    made = create_api_key(actor=engineer, name="nightly", scopes=SCOPES)
    other = Program(create_api_key(actor=engineer, name="other", scopes=SCOPES).secret)
    first = Program(made.secret)
    with tenant_scope(tenant.id):
        Dataset.objects.update(restricted=True, created_by=made.id)
    job = first.post("jobs/", order, Idempotency_Key="nightly-1")
    assert job.status_code == 201, job.content
    job_id, third = job.json()["id"], first.rotated().rotated()
    assert first.get("me/").status_code == 401
    assert [program.datasets() for program in (third, other)] == [1, 0]
    again = third.post("jobs/", order, Idempotency_Key="nightly-1")
    assert (again.json()["id"], again["Idempotent-Replayed"]) == (job_id, "true")
    own = third.post("jobs/", order).json()["id"]
    with tenant_scope(tenant.id):
        submitted = dict(Job.objects.values_list("id", "submitted_by"))
        launchers = {actor_today(tenant.id, who).can("jobs.launch") for who in submitted.values() if who == made.id}
    assert launchers == {True}, "what the first key started ends in its successor's name"
    assert [other.post(f"jobs/{one}/cancel/").status_code for one in (job_id, own)] == [404, 404]
    assert [third.post(f"jobs/{one}/cancel/").status_code for one in (job_id, own)] == [200, 200]


def test_what_a_key_made_before_its_line_was_known_goes_to_the_last_successor(superuser: psycopg.Connection) -> None:
    tenant = factories.make_tenant("lab")
    order, engineer = launchable(tenant), factories.actor_for(tenant, "owner")
    second = Program(create_api_key(actor=engineer, name="nightly", scopes=SCOPES).secret).rotated()
    key_id = second.get("me/").json()["actor"]["id"]
    open_job, ended = (second.post("jobs/", order).json()["id"] for _ in range(2))
    assert second.post(f"jobs/{ended}/cancel/").status_code == 200
    # As it was stored before a successor acted in the name of the first.
    superuser.execute("UPDATE compute_job SET submitted_by = %s", [key_id])
    superuser.execute("UPDATE models_app_dataset SET restricted = true, created_by = %s", [key_id])
    third = second.rotated()
    assert (third.post(f"jobs/{open_job}/cancel/").status_code, third.datasets()) == (404, 0)
    superuser.execute(import_module("tenants.migrations.0049_jobs_follow_their_line").OWNED)
    assert (third.post(f"jobs/{open_job}/cancel/").status_code, third.datasets()) == (200, 1)
    with tenant_scope(tenant.id):
        assert str(Job.objects.get(id=ended).submitted_by) == key_id, "what ended keeps who did it"
