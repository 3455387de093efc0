"""The audit page and its export: actions of people first, names in place of ids. How pages show times and emails."""

from __future__ import annotations

import csv
import json
import re
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from config.mail import mail_settings
from tenants import operations
from tenants.access.actor import Actor
from tenants.audit import queries, verify
from tenants.audit.words import operation_of
from tenants.clock import now
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, AuditHead, Membership, Project, Tenant
from tenants.rights import held
from tests.api.objects import one_of_everything
from tests.api.reading import paths
from tests.support import factories
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

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
    usual, everything = (text_of(client.get(f"/t/lab/audit/{query}")) for query in ("", "?acts=all"))
    assert "Project 2" in usual and "Made by itself" not in usual
    assert "Made by itself" in everything
    kinds = {row["actor_type"] for row in table_of(client.get("/t/lab/audit/?export=csv"))}
    assert kinds == {"user"}
    assert {row["actor_type"] for row in table_of(client.get("/t/lab/audit/?export=csv&acts=system"))} == {"system"}


def test_an_object_is_shown_by_its_name() -> None:
    tenant = factories.make_tenant("works")
    ids = one_of_everything(tenant)
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    page = text_of(client.get("/t/works/audit/?acts=all"))
    assert "Serving slot requested" in page and f"endpoint:{ids['endpoint_id']}" not in page


def test_a_difference_is_a_sentence_on_the_page_in_the_file_and_in_the_api(lab: tuple[Tenant, Client]) -> None:
    _, client = lab
    assert "role changed from viewer to finance" in text_of(client.get("/t/lab/audit/"))
    rows = table_of(client.get("/t/lab/audit/?export=csv&action=tenants.member."))
    assert [row["differences"] for row in rows] == ["role changed from viewer to finance"]
    answer = client.get("/api/v1/audit/?action=tenants.project.", headers={"X-Exchequer-Tenant": "lab"}).json()
    assert answer["results"][1]["differences"] == ["name set to Project 2"]


def test_the_file_is_read_page_by_page_and_leaves_nothing_out(lab: tuple[Tenant, Client]) -> None:
    tenant, _ = lab
    with tenant_scope(tenant.id):
        pages = list(queries.pages(size=2))
        assert [row.seq for page in pages for row in page] == [row.seq for row in queries.entries(limit=200)]
        assert len(pages) > 2


def test_one_request_verifies_a_part_and_the_parts_make_the_whole(
    lab: tuple[Tenant, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, client = lab
    monkeypatch.setattr(verify, "PART", 2)
    program = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    with tenant_scope(tenant.id):
        head = AuditHead.objects.get().seq
    walked, following = [], 1
    while following:
        part = program.get("/api/v1/audit/verify/", {"from": following}).json()
        assert (part["ok"], part["head_seq"]) == (True, head)
        walked += range(part["first_seq"], part["entries"] + 1)
        following = part["next_seq"]
    assert walked == list(range(1, head + 1)) and head > 4
    for wrong in ("x", "-1", str(head + 1), "9" * 25):
        assert program.get("/api/v1/audit/verify/", {"from": wrong}).status_code == 400

    newest = text_of(client.get("/t/lab/audit/verified/"))
    assert f"from entry #{head - 1} to #{head}" in newest and "Verify all entries" in newest
    page, parts = text_of(client.get("/t/lab/audit/verified/?from=1")), 1
    while found := re.search(r"audit/verified/\?from=([0-9]+)", page):
        assert "no fault so far" in page and "Chain verified" not in page
        page, parts = text_of(client.get(f"/t/lab/audit/verified/?from={found[1]}")), parts + 1
    assert "in parts; it would have stopped at the first fault" in page and parts == (head + 1) // 2
    monkeypatch.setattr(verify, "PART", head)
    assert f"{head} entries, none missing" in text_of(client.get("/t/lab/audit/verified/"))


def test_every_page_says_times_in_the_zone_of_the_organisation_and_the_api_in_utc(settings: Any) -> None:
    tenant = factories.make_tenant("lab", timezone="Asia/Kolkata")
    ids = one_of_everything(tenant)
    client = Client(headers={"X-Exchequer-Tenant": "lab"})
    client.force_login(factories.make_member(tenant, "owner"))
    for path in paths(ids):
        answer = client.get(path)
        page = answer.status_code == 200 and path.startswith("/t/") and "html" in answer.headers["Content-Type"]
        body = text_of(answer) if page else ""
        assert "(UTC)" not in body and " UTC<" not in body, path
        titles = re.findall(r'<time datetime="[^"]+" title="([^"]*)"', body)
        assert all(re.fullmatch(r".* Asia/Kolkata, .* UTC", title) for title in titles), (path, titles)
        if path == "/t/lab/jobs/":
            assert titles and "(Asia/Kolkata)" in body
    assert client.get("/api/v1/jobs/").json()["results"][0]["submitted_at"].endswith("Z")


@pytest.mark.parametrize(("mail", "said"), [("", False), ("smtp://127.0.0.1:25", True)])
def test_emails_are_mentioned_only_if_a_mail_server_is_set(
    lab: tuple[Tenant, Client], settings: Any, mail: str, said: bool
) -> None:
    for name, value in mail_settings(mail, Path("/nowhere")).items():
        setattr(settings, name, value)
    assert ("by email" in text_of(lab[1].get("/t/lab/notifications/"))) is said


def test_the_mail_of_a_password_reset_is_ours(lab: tuple[Tenant, Client], mailoutbox: list[Any]) -> None:
    Client().post("/accounts/password/reset/", {"email": "ann@example.org"})
    (mail,) = mailoutbox
    assert mail.subject == "Choose a new password for Exchequer"
    assert mail.body.startswith("Somebody asked for a new password for ann@example.org on Exchequer.")
    assert "Hello from" not in mail.body and "Thank you for using" not in mail.body


def acts_of(tenant: Tenant, action: str) -> list[tuple[str, str]]:
    with tenant_scope(tenant.id):
        return [(row.actor_label, row.target_label) for row in queries.entries(queries.EntryFilter(action=action))]


def test_every_file_of_a_list_leaves_an_entry_and_looking_leaves_none(lab: tuple[Tenant, Client]) -> None:
    tenant, client = lab
    lists = {"members": "members", "jobs": "jobs", "spend/export/groups.csv": "spend-groups", "audit": "audit"}
    for path in lists:
        assert client.get(f"/t/lab/{path}" if "." in path else f"/t/lab/{path}/").status_code == 200
    for path in lists:
        answer = client.get(f"/t/lab/{path}" if "." in path else f"/t/lab/{path}/?export=csv")
        assert answer.headers["Content-Type"].startswith("text/csv")
    taken = acts_of(tenant, "tenants.list.exported")
    assert taken[:4] == [("ann@example.org", name) for name in reversed(lists.values())]


def test_head_exports_no_list_and_leaves_no_entry(lab: tuple[Tenant, Client]) -> None:
    tenant, person = lab
    program = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    pages = ("members/?export=csv", "jobs/?export=csv", "audit/?export=csv", "spend/export/groups.csv")
    for client, path in [*((person, f"/t/lab/{page}") for page in pages), (program, "/api/v1/audit/export/")]:
        before = len(acts_of(tenant, "tenants.list.exported"))
        answer = client.head(path)
        assert (answer.status_code, len(acts_of(tenant, "tenants.list.exported"))) == (200, before), path
        taken = client.get(path)
        assert (taken.headers["Content-Type"], taken.headers["Content-Disposition"]) == (
            answer.headers["Content-Type"],
            answer.headers["Content-Disposition"],
        )
        assert len(acts_of(tenant, "tenants.list.exported")) == before + 1, path


def test_a_log_in_is_audited_where_it_enters_and_a_password_change_in_each_organisation(settings: Any) -> None:
    one, other, third = (factories.make_tenant(slug) for slug in ("one", "other", "third"))
    ann = factories.make_member(one, "viewer", "ann@example.org")
    with tenant_scope(other.id):
        held.give(Membership.objects.create(user=ann), "engineer")
    client = Client()
    wrong = {"login": "ann@example.org", "password": "not this one"}
    assert client.post("/accounts/login/", wrong).status_code == 200
    assert acts_of(one, "tenants.session.") == []
    assert client.post("/accounts/login/", wrong | {"password": factories.PASSWORD}).status_code == 302
    new = {"oldpassword": factories.PASSWORD, "password1": "a longer phrase 7", "password2": "a longer phrase 7"}
    assert client.post("/accounts/password/change/", new).status_code == 302
    for tenant, times in ((one, 1), (other, 1), (third, 0)):
        assert acts_of(tenant, "tenants.session.started") == [], "nobody has entered it"
        assert acts_of(tenant, "tenants.password.changed") == [("ann@example.org", "")] * times
    assert client.get("/t/one/missing/").status_code == 404
    for _ in range(2):
        assert client.get("/t/one/").status_code == 200
        assert client.get("/api/v1/me/").status_code == 200
    assert acts_of(one, "tenants.session.started") == [("ann@example.org", "")]
    assert acts_of(other, "tenants.session.started") == [], (
        "where and when somebody works elsewhere is not its business"
    )
    assert client.get("/api/v1/me/", headers={"X-Exchequer-Tenant": "other"}).status_code == 200
    assert acts_of(other, "tenants.session.started") == [("ann@example.org", "")]
    again = Client()
    again.post("/accounts/login/", wrong | {"password": "a longer phrase 7"})
    assert again.get("/t/one/jobs/").status_code == 200
    assert acts_of(one, "tenants.session.started") == [("ann@example.org", "")] * 2, "each log-in"


def test_an_actions_description_precedes_its_code(lab: tuple[Tenant, Client]) -> None:
    _, client = lab
    text = text_of(client.get("/t/lab/audit/"))
    assert "Member role changed<small><code>tenants.member.role_changed</code> · modify</small>" in text
    assert "tenants.member.role_changed" in [row["action"] for row in table_of(client.get("/t/lab/audit/?export=csv"))]


def test_entries_are_found_by_outcome_and_by_who_saw_what(lab: tuple[Tenant, Client]) -> None:
    _, client = lab
    assert client.get("/t/lab/members/?export=csv").status_code == 200
    api = {"X-Exchequer-Tenant": "lab"}
    seen = client.get("/api/v1/audit/?acts=reads", headers=api).json()["results"]
    assert [(row["action"], row["actor_label"]) for row in seen] == [("tenants.list.exported", "ann@example.org")]
    assert "List exported" in text_of(client.get("/t/lab/audit/?acts=reads"))
    assert client.get("/api/v1/audit/?outcome=refused", headers=api).json()["results"] == []
    assert len(client.get("/api/v1/audit/?outcome=done&limit=3", headers=api).json()["results"]) == 3
    assert "No entry matches" in text_of(client.get("/t/lab/audit/?outcome=failed"))
    for wrong in ("outcome=perhaps", "acts=theirs"):
        assert client.get(f"/api/v1/audit/?{wrong}", headers=api).status_code == 400


def test_entries_are_found_by_time_object_and_outcome_on_the_page_and_in_the_api(
    lab: tuple[Tenant, Client], demo_clock: DemoClock
) -> None:
    """Each filter leaves something out, and both entrances agree."""
    tenant, client = lab
    demo_clock.advance(timedelta(days=3))
    day = now().date()
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="p1")
    operations.archive_project(actor=factories.actor_for(tenant), project_id=project.id)
    viewer = Client(headers={"X-Exchequer-Tenant": "lab"})
    viewer.force_login(factories.make_member(tenant, "viewer"))
    assert viewer.post("/api/v1/projects/", {"slug": "x", "name": "X"}, "application/json").status_code == 403

    def found(query: str) -> list[str]:
        answer = client.get(f"/api/v1/audit/?limit=100&{query}", headers={"X-Exchequer-Tenant": "lab"})
        return [row["action"] for row in answer.json()["results"]]

    def file(query: str) -> list[str]:
        return [row["action"] for row in table_of(client.get(f"/t/lab/audit/?export=csv&acts=all&{query}"))]

    everything = found("")
    late, early = found(f"since={day}T00:00:00Z"), found(f"until={day}T00:00:00Z")
    assert "tenants.project.archived" in late and "tenants.project.created" in early
    assert late + early == everything and late and early
    assert file(f"since={day}")[1:] == late, "the file's own entry is the newest"
    before = day - timedelta(days=1)
    assert file(f"until={before}") == early
    of_one = ["tenants.project.archived", "tenants.project.created"]
    assert found(f"target_id={project.id}") == file(f"target={project.id}") == of_one
    projects = found("target_type=project")
    assert set(projects) == set(of_one) and len(projects) < len(everything)
    assert file("target_type=project") == projects
    assert found("outcome=refused") == file("outcome=refused") == ["tenants.request.refused"]
    page = text_of(client.get("/t/lab/audit/?target_type=project&acts=all"))
    assert "tenants.project.archived" in page and "tenants.member.role_changed" not in page
    assert '<option value="project" selected>Project</option>' in page


def test_the_page_exports_the_log_with_its_proof_as_the_api_does(lab: tuple[Tenant, Client]) -> None:
    tenant, client = lab
    assert "/t/lab/audit/export/" in client.get("/t/lab/audit/").content.decode()
    taken = [json.loads(line) for line in b"".join(client.get("/t/lab/audit/export/").streaming_content).splitlines()]
    newest = taken[-1]
    assert (newest["action"], newest["operation"]) == ("tenants.list.exported", "access")
    assert [line["seq"] for line in taken] == list(range(1, len(taken) + 1))
    assert all(line["prev_hash"] and line["hash"] for line in taken)
    assert client.get("/t/lab/audit/export/?acts=all").status_code == 400
    engineer = Client()
    engineer.force_login(factories.make_member(tenant, "engineer"))
    assert engineer.get("/t/lab/audit/export/").status_code == 403


@pytest.mark.parametrize(
    ("action", "operation"),
    [
        ("tenants.project.created", "create"),
        ("tenants.dataset.downloaded", "access"),
        ("tenants.webhook.address_revealed", "access"),
        ("tenants.member.role_changed", "modify"),
        ("tenants.api_key.revoked", "remove"),
        ("tenants.session.started", "auth"),
        ("tenants.operator.logged_in", "auth"),
    ],
)
def test_an_action_has_an_operation(action: str, operation: str) -> None:
    assert operation_of(action) == operation


def test_the_program_of_a_request_is_in_the_api_on_the_page_and_in_the_file(lab: tuple[Tenant, Client]) -> None:
    tenant, client = lab
    key = Client(
        headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}", "User-Agent": "exchequer-sdk/1.2"}
    )
    assert key.post("/api/v1/projects/", {"slug": "sdk", "name": "By SDK"}, "application/json").status_code == 201
    (row, *_) = key.get("/api/v1/audit/?action=tenants.project.").json()["results"]
    assert (row["user_agent"], row["operation"]) == ("exchequer-sdk/1.2", "create")
    assert "exchequer-sdk/1.2" in text_of(client.get("/t/lab/audit/"))
    assert "exchequer-sdk/1.2" in {one["user_agent"] for one in table_of(client.get("/t/lab/audit/?export=csv"))}


def test_a_review_of_the_log_is_an_entry_that_the_page_shows(lab: tuple[Tenant, Client]) -> None:
    tenant, reader = lab
    auditor = Client()
    auditor.force_login(factories.make_member(tenant, "auditor", "ida@example.org"))
    with tenant_scope(tenant.id):
        newest = AuditHead.objects.get().seq
    page = text_of(auditor.get("/t/lab/audit/"))
    assert "Nobody has recorded a review yet" in page and f'name="up_to" value="{newest}"' in page
    for given, fault in (
        ({"up_to": newest + 9, "note": "all in order"}, "Use the number of an entry, from 1 to"),
        ({"up_to": newest, "note": "  x "}, "Note what you found"),
        ({"up_to": 10**30, "note": "all in order"}, "less than or equal"),
        ({"note": "all in order"}, "required"),
    ):
        refused = auditor.post("/t/lab/audit/review/", given)
        assert (refused.status_code, fault in text_of(refused)) == (422, True), given
    done = auditor.post("/t/lab/audit/review/", {"up_to": newest, "note": "Q4: asked mia@example.org\n about keys"})
    assert done.status_code == 302
    page = re.sub("<[^>]*>", "", text_of(reader.get("/t/lab/audit/")))
    assert f"up to entry #{newest}: Q4: asked mia@example.org about keys" in page
    assert "Last reviewed by ida@example.org on" in page and "Record a review" not in page
    assert reader.post("/t/lab/audit/review/", {"up_to": newest, "note": "me, too"}).status_code == 403
    lower = auditor.post("/t/lab/audit/review/", {"up_to": newest - 1, "note": "again"})
    assert (lower.status_code, f"already reviewed up to entry {newest}" in text_of(lower)) == (422, True)
    (row,) = reader.get("/api/v1/audit/?action=tenants.audit_log.").json()["results"]
    assert (row["operation"], row["actor_label"], row["changes"]) == (
        "access",
        "ida@example.org",
        {"reviewed_to": [None, newest]},
    )
    with tenant_scope(tenant.id):
        assert "mia@example.org" not in AuditEntry.objects.get(action="tenants.audit_log.reviewed").reason
        assert verify.verify().ok
