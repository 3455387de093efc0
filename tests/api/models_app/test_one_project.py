"""A person with rights in one project only, by HTTP: what the pages offer, and what they refuse elsewhere."""

import re
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from billing.budgets import budgets
from billing.models import Budget
from compute.models import Job
from tenants.access.rights import Rights
from tenants.grants import grants, roles
from tenants.grants.grants import Holder
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Project, Tenant, User
from tenants.rights import held
from tests.support import factories
from tests.support.launch_forms import BATCH, NEW, WITH_CLASSES, entered, make_lab, submitted, table
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab() -> Tenant:
    return make_lab()


@pytest.fixture
def project(lab: Tenant) -> Project:
    with tenant_scope(lab.id):
        return Project.objects.create(slug="vision", name="Vision")


@pytest.fixture
def nora(lab: Tenant, project: Project) -> User:
    """A viewer who launches, and manages budgets, in one project."""
    user, owner = factories.make_member(lab, "viewer", "nora@lab.example"), factories.actor_for(lab)
    role = roles.create_role(
        actor=owner, name="Lead", permissions=["jobs.launch", "jobs.cancel", "jobs.cancel_any", "budgets.manage"]
    )
    grants.give(actor=owner, holder=Holder(user_id=user.id), role=role.id, project_id=project.id)
    return user


@pytest.fixture
def client(nora: User) -> Client:
    client = Client()
    client.force_login(nora)
    return client


def options(page: str, name: str) -> list[str]:
    """Return the words that a choice of a page offers."""
    inside = page.partition(f'<select name="{name}"')[2].partition("</select>")[0]
    return re.findall(r"<option[^>]*>([^<]*)</option>", inside)


def form(page: str, **changes: Any) -> dict[str, Any]:
    return entered(page) | {"name": "mine", "max_minutes": "5"} | changes


def test_the_launch_forms_offer_only_the_project_in_which_one_may_launch(
    lab: Tenant, project: Project, client: Client
) -> None:
    version = table(lab, columns=WITH_CLASSES, target="t")
    page = text_of(client.get(f"{NEW}?dataset={version.id}"))
    assert options(page, "project") == ["Vision"]
    assert options(text_of(client.get(BATCH)), "project") in ([], ["Vision"]), "nor the project of any version"
    elsewhere = client.post(NEW, form(page, project=str(factories.default_project_id(lab))))
    assert elsewhere.status_code == 422
    launched = client.post(NEW, form(page))
    assert launched.status_code == 302, text_of(launched)
    with tenant_scope(lab.id):
        assert Job.objects.get().project_id == project.id


def test_buttons_of_a_job_are_those_that_work_in_its_project(lab: Tenant, client: Client) -> None:
    version = table(lab, columns=WITH_CLASSES, target="t")
    page = text_of(client.get(f"{NEW}?dataset={version.id}"))
    mine = client.post(NEW, form(page))["Location"]
    shown = text_of(client.get(mine))
    assert "Cancel job" in shown
    assert ">Pause<" in shown
    assert client.post(f"{mine}pause/").status_code == 302
    assert ">Resume<" in text_of(client.get(mine))
    assert client.post(f"{mine}resume/").status_code == 302
    assert client.post(f"{mine}cancel/", {"reason": "done"}).status_code == 302
    other = f"/t/lab/jobs/{submitted(lab, version).id}/"
    shown = text_of(client.get(other))
    for button in ("Cancel job", ">Pause<", "Clone"):
        assert button not in shown
    assert client.post(f"{other}cancel/").status_code == 403
    assert client.post(f"{other}pause/").status_code == 403


def test_one_sets_and_changes_the_budget_of_that_project_alone(lab: Tenant, project: Project, client: Client) -> None:
    whole = budgets.create_budget(actor=factories.actor_for(lab), amount=Decimal(100), at_limit="notify")
    page = text_of(client.get("/t/lab/budgets/new/"))
    assert options(page, "scope") == ["Vision"]
    assert 'name="tag"' not in page
    terms = {"amount": "50", "at_limit": "notify", "alerts": "80"}
    assert client.post("/t/lab/budgets/new/", terms | {"scope": "tenant"}).status_code == 422
    assert client.post("/t/lab/budgets/new/", terms | {"scope": "tag", "tag": "a=b"}).status_code == 422
    assert client.post("/t/lab/budgets/new/", terms | {"scope": str(project.id)}).status_code == 302
    listed = text_of(client.get("/t/lab/budgets/"))
    assert "Change the budget of Vision" in listed
    assert "Change the budget of the whole organisation" not in listed
    assert client.get(f"/t/lab/budgets/{whole.id}/").status_code == 403
    own = budget_of(lab, project.id)
    assert client.post(f"/t/lab/budgets/{own}/", terms | {"amount": "60"}).status_code == 302
    assert client.post(f"/t/lab/budgets/{whole.id}/", terms).status_code == 403


def budget_of(lab: Tenant, project_id: UUID) -> UUID:
    with tenant_scope(lab.id):
        return Budget.objects.get(project_id=project_id).id


def test_a_role_without_the_right_to_cancel_offers_no_cancelling(lab: Tenant) -> None:
    owner = factories.actor_for(lab)
    role = roles.create_role(actor=owner, name="Odd", permissions=["jobs.cancel_any"])
    user = factories.make_member(lab, "viewer")
    grants.give(actor=owner, holder=Holder(user_id=user.id), role=role.id)
    client = Client()
    client.force_login(user)
    job = submitted(lab, table(lab, columns=WITH_CLASSES, target="t"))
    assert "Cancel job" not in text_of(client.get(f"/t/lab/jobs/{job.id}/"))
    assert client.post(f"/t/lab/jobs/{job.id}/cancel/").status_code == 403


def test_a_person_with_grants_in_projects_only_reads_nothing(lab: Tenant, project: Project, nora: User) -> None:
    """Reading is never limited to a project, so it needs a role in the whole organisation."""
    with tenant_scope(lab.id):
        Grant.objects.filter(membership__user=nora, project=None).delete()
        assert held.rights_of_person(nora.id) != Rights()
    client = Client()
    client.force_login(nora)
    assert client.get("/t/lab/jobs/").status_code == 403
