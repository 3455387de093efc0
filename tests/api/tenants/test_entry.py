"""Access to the API: keys, sessions, CSRF, one response per idempotency key, the same 404 for foreign and missing."""

import base64
import random
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Hold, TopUp
from compute.models import Job
from models_app.datasets import operations as datasets
from models_app.models import Endpoint, ModelVersion
from tenants.clock import now
from tenants.grants import grants, groups
from tenants.identity import api_keys, members
from tenants.isolation.scoping import TenantModel, tenant_scope
from tenants.models import IdempotencyKey, Project, Session, Tenant
from tenants.sharing import shares
from tenants.web.pagination import encode_cursor
from tests.api.objects import launchable, one_of_everything
from tests.integration.billing.invoicing.scene import name_the_seller
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def bearer(key: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **more}


def logged_in(tenant: Tenant, role: str, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(factories.make_member(tenant, role))
    return client


def test_a_key_fixes_the_tenant(client: Client) -> None:
    tenant = factories.make_tenant("vision")
    key = factories.make_api_key(tenant, ["tenant.view"])
    answer = client.get("/api/v1/me/", headers=bearer(key))
    assert answer.json()["tenant"]["slug"] == "vision"
    assert answer.json()["scopes"] == ["tenant.view"]
    assert client.get("/api/v1/members/", headers=bearer(key)).status_code == 403


def statements(client: Client, path: str, **options: Any) -> list[str]:
    """Return the statements of a request, without those that begin and end a transaction."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path, **options).status_code == 200
    return [
        query["sql"] for query in captured if not query["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))
    ]


def test_one_statement_finds_out_who_asks_and_enters() -> None:
    tenant = factories.make_tenant()
    owner, group = factories.actor_for(tenant), groups.create_group(actor=factories.actor_for(tenant), name="g")
    client = logged_in(tenant, "viewer")
    person = client.get("/api/v1/me/").json()["actor"]["id"]
    grants.give(actor=owner, holder=grants.Holder(group_id=group.id), role="engineer")
    groups.add_member(actor=owner, group_id=group.id, user_id=UUID(person))
    client.get(f"/t/{tenant.slug}/")  # the session says that it is in this tenant
    for asked in (client, Client(headers=bearer(factories.make_api_key(tenant, ["jobs.view"])))):
        asked.get("/api/v1/me/")  # the use of a key is noted once a minute
        found = statements(asked, "/api/v1/me/")
        assert len([one for one in found if "set_config('app.tenant', '', true)" not in one]) == 1, found
        assert "exchequer_enter" in found[0]
    assert client.get("/api/v1/me/").json()["role"] == "engineer, viewer"


#: Filters by all kinds of values that find the one row.
LISTS = {
    "jobs": "state=queued,failed&kind=train&device_class=cpu&name=A%20JO&project={project_id}&limit=1",
    "datasets": "name=NUM&limit=1",
    "models": "name=A%20MO&limit=1",
    "endpoints": "state=deploying&state=ready&limit=1",
}


@pytest.mark.parametrize("noun", LISTS)
def test_a_list_shows_what_is_shared_and_keeps_it_when_it_is_filtered(noun: str) -> None:
    tenant = factories.make_tenant()
    ids = one_of_everything(tenant)
    client = logged_in(tenant, "viewer")
    person = UUID(client.get("/api/v1/me/").json()["actor"]["id"])
    actor = factories.actor_for(tenant)
    datasets.restrict(actor=actor, dataset_id=ids["dataset_id"], restricted=True)
    shares.share(actor=actor, kind="dataset", object_id=ids["dataset_id"], user_id=person)
    listed = client.get(f"/api/v1/{noun}/").json()["results"]
    assert listed, "a share opens what is restricted"
    filtered = LISTS[noun].format(project_id=factories.default_project_id(tenant))
    assert client.get(f"/api/v1/{noun}/?{filtered}").json()["results"] == listed


def test_a_session_whose_row_names_another_person_enters_nowhere(superuser: Any) -> None:
    """The row's person is found by the statement; what counts is the signed data."""
    tenant = factories.make_tenant()
    client, other = logged_in(tenant, "viewer"), factories.make_member(tenant, "owner")
    assert client.get("/api/v1/me/").status_code == 200
    Session.objects.update(user_id=other.id)
    assert client.get("/api/v1/me/").status_code == 401
    assert client.get(f"/t/{tenant.slug}/").status_code in (302, 404)


def test_a_session_ends_with_its_time_its_password_and_its_account() -> None:
    tenant = factories.make_tenant()
    for end in (
        lambda user: Session.objects.filter(user_id=user.id).update(expire_date=now() - timedelta(seconds=1)),
        lambda user: (user.set_password("another long one"), user.save()),
        lambda user: type(user).objects.filter(id=user.id).update(is_active=False),
    ):
        user = factories.make_member(tenant, "viewer")
        client = Client()
        client.force_login(user)
        assert client.get("/api/v1/me/").status_code == 200
        end(user)
        assert client.get("/api/v1/me/").status_code == 401
        assert client.get(f"/t/{tenant.slug}/").status_code == 302


@pytest.mark.parametrize("key", ["", "exq_", "exq_00000000_" + "x" * 43, "Bearer", "\u2603"])
def test_a_wrong_key_is_a_401_that_says_how(client: Client, key: str) -> None:
    factories.make_tenant()
    answer = client.get("/api/v1/me/", HTTP_AUTHORIZATION=f"Bearer {key}")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "not_authenticated"
    assert answer.json()["request_id"] == answer["X-Request-Id"]


def test_a_revoked_or_expired_key_is_refused_at_the_next_request(client: Client, superuser: Any) -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    revoked = api_keys.create_api_key(actor=actor, name="a", scopes=["tenant.view"])
    assert client.get("/api/v1/me/", headers=bearer(revoked.secret)).status_code == 200
    api_keys.revoke_api_key(actor=actor, key_id=revoked.id)
    assert client.get("/api/v1/me/", headers=bearer(revoked.secret)).status_code == 401
    expired = api_keys.create_api_key(
        actor=actor, name="b", scopes=["tenant.view"], expires_at=now() - timedelta(seconds=1)
    )
    assert client.get("/api/v1/me/", headers=bearer(expired.secret)).status_code == 401


def test_a_session_needs_the_csrf_token_and_a_key_does_not() -> None:
    tenant = factories.make_tenant()
    client = logged_in(tenant, "admin", enforce_csrf_checks=True)
    body = {"slug": "p1", "name": "P"}
    refused = client.post("/api/v1/projects/", body, content_type="application/json")
    assert refused.status_code == 403
    key = factories.make_api_key(tenant, ["projects.manage"])
    fresh = Client(enforce_csrf_checks=True)
    assert (
        fresh.post("/api/v1/projects/", body, content_type="application/json", headers=bearer(key)).status_code == 201
    )


def test_a_removed_member_is_refused_at_the_next_request() -> None:
    tenant = factories.make_tenant()
    user = factories.make_member(tenant, "engineer")
    client = Client()
    client.force_login(user)
    assert client.get("/api/v1/me/").status_code == 200
    members.remove_member(actor=factories.actor_for(tenant), user_id=user.id)
    assert client.get("/api/v1/me/").status_code == 401
    assert client.get(f"/t/{tenant.slug}/").status_code == 404


def test_an_address_without_a_page_keeps_the_organisation_and_only_ones_own() -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    client = logged_in(ours, "viewer")
    found = client.get("/t/ours/jbos/")
    assert found.status_code == 404
    page = text_of(found)
    assert 'aria-label="Main"' in page and "/t/ours/jobs/" in page
    assert f"<strong>{ours.name}</strong>" in page
    foreign, missing = client.get("/t/theirs/jbos/"), client.get("/t/no-such-tenant/jbos/")
    assert foreign.status_code == missing.status_code == 404
    assert 'aria-label="Main"' not in text_of(foreign) + text_of(missing)
    assert theirs.name not in text_of(foreign)
    assert client.get("/t/ours/jobs").status_code == 301
    assert 'aria-label="Main"' not in text_of(Client().get("/t/ours/jbos/"))


def test_a_foreign_tenant_looks_like_a_missing_one() -> None:
    ours, theirs = factories.make_tenant(), factories.make_tenant()
    client = logged_in(ours, "owner")
    foreign, missing = client.get(f"/t/{theirs.slug}/"), client.get("/t/no-such-tenant/")
    assert foreign.status_code == missing.status_code == 404
    headers = {"X-Exchequer-Tenant": theirs.slug}
    assert client.get("/api/v1/me/", headers=headers).status_code == 401


def test_unknown_routes_and_methods_are_problems(client: Client) -> None:
    key = factories.make_api_key(factories.make_tenant())
    assert client.get("/api/v1/nothing/", headers=bearer(key)).json()["code"] == "not_found"
    answer = client.delete("/api/v1/me/", headers=bearer(key))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    answer = client.post("/api/v1/projects/", "{", content_type="application/json", headers=bearer(key))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    answer = client.post("/api/v1/projects/", "[1]", content_type="application/json", headers=bearer(key))
    assert answer.status_code == 400
    answer = client.get("/api/v1/audit/?cursor=!!", headers=bearer(key))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_an_idempotency_key_is_answered_once(client: Client) -> None:
    tenant = factories.make_tenant()
    key = factories.make_api_key(tenant)
    send = {"content_type": "application/json", "headers": bearer(key, **{"Idempotency-Key": "abc"})}
    first = client.post("/api/v1/projects/", {"slug": "once", "name": "Once"}, **send)
    again = client.post("/api/v1/projects/", {"slug": "once", "name": "Once"}, **send)
    other = client.post("/api/v1/projects/", {"slug": "other", "name": "Other"}, **send)
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 409)
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    send["content_type"] = "application/json; charset=utf-8"
    turned = client.post("/api/v1/projects/", '{ "name": "Once",\n"slug": "once" }', **send)
    assert turned.json() == first.json()


def test_a_refused_request_may_be_tried_again_with_its_key(client: Client) -> None:
    tenant = factories.make_tenant()
    key = factories.make_api_key(tenant)
    send = {"content_type": "application/json", "headers": bearer(key, **{"Idempotency-Key": "abc"})}
    assert client.post("/api/v1/projects/", {"slug": "default", "name": "Taken"}, **send).status_code == 409
    with tenant_scope(tenant.id):
        assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_twenty_equal_posts_at_once_make_one_object() -> None:
    tenant = factories.make_tenant()
    order, key = launchable(tenant), factories.make_api_key(tenant)
    name_the_seller()
    with tenant_scope(tenant.id):
        version = str(ModelVersion.objects.get().id)
    hold = {"project": "default", "meter": "inference_requests", "quantity": "10", "expires_in_s": 600}
    made: list[tuple[str, dict[str, Any], type[TenantModel]]] = [
        ("projects/", {"slug": "race", "name": "Race"}, Project),
        ("jobs/", order, Job),
        ("holds/", hold, Hold),
        ("endpoints/", {"name": "another", "version": version}, Endpoint),
        ("wallet/top-ups/", {"amount": "10.00"}, TopUp),
    ]
    for path, body, model in made:
        with tenant_scope(tenant.id):
            before = model.objects.count()
        answers: list[tuple[int, Any]] = []

        def post(path: str = path, body: dict[str, Any] = body, answers: list[tuple[int, Any]] = answers) -> None:
            try:
                headers = bearer(key, **{"Idempotency-Key": path})
                answer = Client().post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)
                answers.append((answer.status_code, answer.json()))
            finally:
                connection.close()

        threads = [threading.Thread(target=post) for _ in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert answers[0][0] == 201, (path, answers[0])
        assert answers.count(answers[0]) == 20, (path, answers)
        with tenant_scope(tenant.id):
            assert model.objects.count() == before + 1, path


@pytest.mark.django_db(transaction=True)
def test_a_pooled_connection_never_carries_a_tenant_on() -> None:
    tenants = [factories.make_tenant() for _ in range(4)]
    secrets = [factories.make_api_key(tenant) for tenant in tenants]
    wrong: list[str] = []

    def requests(seed: int) -> None:
        chance = random.Random(seed)
        client = Client(raise_request_exception=False)
        try:
            for _ in range(60):
                number = chance.randrange(4)
                path = chance.choice(["/api/v1/me/", "/api/v1/audit/?cursor=broken", f"/api/v1/members/{uuid4()}/"])
                answer = client.get(path, headers=bearer(secrets[number]))
                if path.endswith("/me/") and answer.json()["tenant"]["slug"] != tenants[number].slug:
                    wrong.append(path)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM tenants_project")
                    if cursor.fetchone() != (0,):
                        wrong.append("rows without a tenant")
        finally:
            connection.close()

    threads = [threading.Thread(target=requests, args=(seed,)) for seed in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


def test_the_sixth_wrong_password_is_held_up(client: Client) -> None:
    tenant = factories.make_tenant()
    user = factories.make_member(tenant, "viewer")
    answers = [client.post("/accounts/login/", {"login": user.email, "password": "wrong"}) for _ in range(7)]
    assert b"Too many failed login attempts" in answers[-1].content or answers[-1].status_code == 429


def test_the_described_api_is_shown_under_the_strict_policy(client: Client) -> None:
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert b"<script>" not in page.content
    assert "script-src" in page["Content-Security-Policy"]
    assert client.get("/api/schema/").status_code == 200


@pytest.mark.parametrize(("theme", "marked"), [("dark", True), ("light", False)])
def test_the_described_api_has_the_theme_of_the_person_and_a_way_back(client: Client, theme: str, marked: bool) -> None:
    person = factories.make_member(factories.make_tenant(), "viewer")
    type(person).objects.filter(pk=person.pk).update(theme=theme)
    client.force_login(person)
    page = client.get("/api/docs/").content.decode()
    assert f'data-bs-theme="{theme}"' in page
    assert ('class="dark-mode"' in page) is marked
    assert '<a href="/">Back to your organisation</a>' in page


@pytest.mark.parametrize("path", ["/api/v1/me/", "/t/lab/", "/"])
def test_a_database_that_is_away_is_a_503_that_says_when_to_try_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from tenants import queries
    from tenants.identity import authentication

    tenant = factories.make_tenant("lab")
    client = logged_in(tenant, "owner", raise_request_exception=False)

    def away(*args: object, **more: object) -> None:
        raise OperationalError("the server is gone")

    for module, name in ((authentication, "tenant_ids_of"), (authentication, "entered_scope"), (queries, "tenants_of")):
        monkeypatch.setattr(module, name, away)
    answer = client.get(path)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert "the server is gone" not in text_of(answer)


NUL_BODIES = [
    '{"slug": "a\\u0000b", "name": "x"}',
    "[" * 50_000,
    '{"slug": ' + "[" * 50_000,
    '{"slug": "\\ud800", "name": "x"}',
    '{"slug": NaN}',
]


@pytest.mark.parametrize("number", range(len(NUL_BODIES)))
def test_a_body_that_cannot_be_stored_is_refused(client: Client, number: int) -> None:
    key = factories.make_api_key(factories.make_tenant())
    answer = client.post("/api/v1/projects/", NUL_BODIES[number], content_type="application/json", headers=bearer(key))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/jobs/?limit=" + "9" * 5000,
        "/api/v1/audit/?cursor=" + encode_cursor("9" * 5000),
        "/api/v1/audit/?cursor=" + base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        "/api/v1/jobs/?name=%00",
        "/api/v1/jobs/?device_class=a%00b",
        "/api/v1/audit/?actor=%00",
        "/api/v1/utilisation/?from=0001-01-01T00:00:00%2B14:00&to=2026-01-01T00:00:00Z",
        "/api/v1/utilisation/?from=2026-01-01T00:00:00Z&to=9999-12-31T23:59:59-14:00",
        "/api/v1/spend/?from=0001-01-01T00:00:00%2B14:00",
        "/api/v1/spend/?from=99999999999",
        "/api/v1/audit/?since=9999-12-31T23:59:59-14:00",
        "/api/v1/jobs/%00/",
    ],
)
def test_an_address_that_cannot_be_read_is_a_400_or_404(client: Client, path: str) -> None:
    key = factories.make_api_key(factories.make_tenant())
    answer = client.get(path, headers=bearer(key))
    assert answer.status_code in (400, 404), answer.content[:300]
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("header", ["Authorization", "Idempotency-Key", "X-Exchequer-Tenant"])
def test_a_nul_in_a_header_is_a_400(header: str) -> None:
    client = Client(raise_request_exception=False)
    value = "Bearer exq_\x00" if header == "Authorization" else "\x00"
    assert (
        client.post("/api/v1/projects/", "{}", content_type="application/json", headers={header: value}).status_code
        == 400
    )


def test_a_key_gives_no_role_that_may_do_more_than_itself(client: Client) -> None:
    tenant = factories.make_tenant()
    key = factories.make_api_key(tenant, ["members.manage"])
    body = {"email": "new@example.org", "role": "admin"}
    assert (
        client.post("/api/v1/members/", body, content_type="application/json", headers=bearer(key)).status_code == 403
    )


def test_a_key_ends_with_its_creators_membership_and_shrinks_with_their_role(client: Client) -> None:
    tenant = factories.make_tenant()
    owner, creator = factories.actor_for(tenant), factories.actor_for(tenant, "admin")
    key = api_keys.create_api_key(actor=creator, name="k", scopes=["members.view", "apikeys.view"]).secret
    assert client.get("/api/v1/api-keys/", headers=bearer(key)).status_code == 200
    assert creator.id is not None
    members.change_role(actor=owner, user_id=creator.id, role="viewer")
    assert client.get("/api/v1/api-keys/", headers=bearer(key)).status_code == 403
    assert client.get("/api/v1/members/", headers=bearer(key)).status_code == 200
    members.remove_member(actor=owner, user_id=creator.id)
    assert client.get("/api/v1/members/", headers=bearer(key)).status_code == 401


def test_a_reload_of_an_address_that_takes_forms_alone_shows_a_page_and_not_nothing() -> None:
    tenant = factories.make_tenant("acme")
    owner = Client()
    owner.force_login(factories.make_member(tenant, "owner"))
    answer = owner.get("/t/acme/reported/meters/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "<h1>Not possible here</h1>" in text_of(answer)
    assert "Go to Overview" in text_of(answer)


@pytest.mark.parametrize(
    ("form", "page"),
    [
        ("api-keys/new/", "api-keys/"),
        ("projects/new/", "projects/"),
        ("quotas/change/", "quotas/"),
        ("members/invite/", "members/"),
        ("settings/organisation/", "settings/"),
    ],
)
def test_a_get_of_a_forms_url_redirects_to_its_page(form: str, page: str) -> None:
    tenant = factories.make_tenant("acme")
    owner, viewer = (Client(), Client())
    owner.force_login(factories.make_member(tenant, "owner"))
    viewer.force_login(factories.make_member(tenant, "viewer"))
    answer = owner.get(f"/t/acme/{form}")
    assert (answer.status_code, answer["Location"]) == (302, f"/t/acme/{page}")
    assert owner.put(f"/t/acme/{form}").status_code == 405
    refused = viewer.get(f"/t/acme/{form}")
    assert refused.status_code == 403
    assert "<h1>Not allowed</h1>" in text_of(refused)
    assert text_of(refused).count("Your role does not include this.") == 1
