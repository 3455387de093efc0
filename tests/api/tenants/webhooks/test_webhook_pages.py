"""Pages and API of webhooks: what a person does, what is shown once, what is refused with which words."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Grant, Membership, Role, Tenant, Webhook, WebhookDelivery
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
GIVEN = {
    "name": "pager",
    "url": "https://hooks.example/x",
    "format": "exchequer",
    "types": ["job.failed", "budget.alert"],
}


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("acme")


@pytest.fixture
def browser(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, "admin"))
    return client


@pytest.fixture
def api(tenant: Tenant) -> Any:
    key = factories.make_api_key(tenant)

    def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        answer = Client().generic(
            method, f"/api/v1/webhooks/{path}", "" if body is None else json.dumps(body), "application/json",
            headers={"Authorization": f"Bearer {key}", **headers},
        )  # fmt: skip
        return answer.status_code, answer.json() if answer.content else None

    return ask


def test_a_webhook_is_created_tested_rotated_changed_and_deleted_on_its_pages(tenant: Tenant, browser: Client) -> None:
    form = {**GIVEN, "form_key": str(uuid4())}
    shown = browser.post("/t/acme/webhooks/new/", form)
    secret = re.search(r"whsec_[\w-]+", text_of(shown))
    assert shown.status_code == 200 and secret is not None
    assert "shown only once" in text_of(shown)
    again = browser.post("/t/acme/webhooks/new/", form, follow=True)
    assert "This webhook already exists" in text_of(again)
    assert "whsec_" not in text_of(again)
    with tenant_scope(tenant.id):
        row = Webhook.objects.get()
    place = f"/t/acme/webhooks/{row.id}/"
    assert "pager" in text_of(browser.get("/t/acme/webhooks/"))
    assert "A test event is on its way" in text_of(browser.post(f"{place}test/", follow=True))
    with tenant_scope(tenant.id):
        delivery = WebhookDelivery.objects.get()
    page = text_of(browser.get(place))
    assert "Test event" in page and "Waiting" in page
    assert "hooks.example" in page and "hooks.example/x" not in page
    assert "https://hooks.example/x" in text_of(browser.post(f"{place}address/"))
    refused = browser.post(f"{place}deliveries/{delivery.id}/replay/", follow=True)
    assert "still waits for its next attempt" in text_of(refused)
    rotated = re.search(r"whsec_[\w-]+", text_of(browser.post(f"{place}secret/")))
    assert rotated is not None and rotated[0] != secret[0]
    other = {"name": "night pager", "url": "", "types": ["job.failed"]}
    changed = browser.post(f"{place}change/", {**GIVEN, **other}, follow=True)
    assert "Webhook night pager saved" in text_of(changed) and "Disabled" in text_of(changed)
    assert "https://hooks.example/x" in text_of(browser.post(f"{place}address/")), "an empty field leaves it"
    assert "Webhook night pager deleted" in text_of(browser.post(f"{place}delete/", follow=True))
    with tenant_scope(tenant.id):
        assert (Webhook.objects.count(), WebhookDelivery.objects.count()) == (0, 0)
        actions = list(
            AuditEntry.objects.filter(action__contains=".webhook.").order_by("seq").values_list("action", flat=True)
        )
    done = ("created", "tested", "address_revealed", "secret_rotated", "changed", "address_revealed", "deleted")
    assert actions == [f"tenants.webhook.{one}" for one in done]


def test_a_wrong_form_says_what_to_do_and_keeps_what_was_typed(tenant: Tenant, browser: Client) -> None:
    for given, words in (
        ({"url": "http://hooks.example/"}, "The URL must begin with https://."),
        ({"url": "https://u:p@hooks.example/"}, "The URL must not contain a user name or a password."),
        ({"url": "https://[::1"}, "The URL is not valid"),
        ({"types": []}, "This field is required."),
        ({"types": ["job.exploded"]}, "job.exploded is not one of the available choices."),
    ):
        answer = browser.post("/t/acme/webhooks/new/", {**GIVEN, **given})
        assert answer.status_code == 422
        assert words in text_of(answer), given
        assert "pager" in answer.content.decode()
    with tenant_scope(tenant.id):
        assert Webhook.objects.count() == 0


def test_the_api_names_each_wrong_field_and_limits_how_many(api: Any) -> None:
    status, answer = api("POST", "", {"name": "x", "url": "https://h.example:99999999/", "types": ["nothing"]})
    assert (status, sorted(answer["fields"])) == (400, ["types", "url"])
    for number in range(20):
        assert api("POST", "", {**GIVEN, "name": f"hook {number}"})[0] == 201
    assert api("POST", "", {**GIVEN, "name": "one more"})[1]["code"] == "too_many_webhooks"
    first = api("GET", "")[1]["results"][0]
    assert api("PATCH", f"{first['id']}/", {"name": "hook 7"})[1]["code"] == "webhook_name_taken"
    assert api("PATCH", f"{first['id']}/", {"types": ["job.started"]})[1]["types"] == ["job.started"]


def test_a_repeated_request_makes_one_webhook_and_shows_no_secret_again(api: Any) -> None:
    key = {"Idempotency-Key": "once"}
    status, made = api("POST", "", GIVEN, **key)
    assert status == 201 and made["secret"].startswith("whsec_")
    status, again = api("POST", "", GIVEN, **key)
    assert (status, again["id"], again["secret"]) == (201, made["id"], None)
    assert len(api("GET", "")[1]["results"]) == 1
    assert {"secret", "url"} & set(api("GET", f"{made['id']}/")[1]) == set()


def test_an_address_is_revealed_with_an_entry_that_who_saw_what_lists(tenant: Tenant, api: Any) -> None:
    made = api("POST", "", GIVEN)[1]
    assert (made["host"], "url" in made) == ("hooks.example", False)
    key = {"Idempotency-Key": "once"}
    assert api("POST", f"{made['id']}/address/", **key) == (200, {"url": GIVEN["url"]})
    assert api("POST", f"{made['id']}/address/", **key) == (200, {"url": None}), "a repetition stores no secret"
    assert api("POST", f"{uuid4()}/address/")[0] == 404
    reader = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    (seen,) = reader.get("/api/v1/audit/?acts=reads").json()["results"]
    assert (seen["action"], seen["operation"]) == ("tenants.webhook.address_revealed", "access")
    assert (seen["target_id"], seen["target_label"]) == (made["id"], "pager")


def test_deliveries_are_paged_newest_first_and_filtered(api: Any) -> None:
    made = api("POST", "", GIVEN)[1]
    ids = [api("POST", f"{made['id']}/test/")[1]["id"] for _ in range(3)]
    page = api("GET", f"{made['id']}/deliveries/?limit=2")[1]
    assert [row["id"] for row in page["results"]] == ids[:0:-1]
    rest = api("GET", f"{made['id']}/deliveries/?{page['next'].partition('?')[2]}")[1]
    assert [row["id"] for row in rest["results"]] == ids[:1]
    assert api("GET", f"{made['id']}/deliveries/?state=delivered")[1]["results"] == []
    assert api("GET", f"{made['id']}/deliveries/?state=lost")[0] == 400


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest",
        "https://[fd00::1]/",
    ],
)
def test_an_address_within_a_private_network_is_refused_even_while_the_fetcher_is_away(url: str) -> None:
    tenant = factories.make_tenant("ours")
    key = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    body = {"name": "inside", "url": url, "types": ["job.failed"]}
    refused = key.post("/api/v1/webhooks/", body, "application/json")
    assert refused.status_code in (400, 503), refused.content
    with tenant_scope(tenant.id):
        assert not Webhook.objects.exists()
    assert (
        key.post("/api/v1/webhooks/", body | {"url": "https://93.184.216.34/x"}, "application/json").status_code == 201
    )


def test_nobody_has_figures_sent_that_they_may_not_read(tenant: Tenant, api: Any) -> None:
    narrow = factories.make_api_key(tenant, ["webhooks.manage"])

    def ask(method: str, path: str, body: Any = None) -> Any:
        return Client().generic(
            method, f"/api/v1/webhooks/{path}", "" if body is None else json.dumps(body), "application/json",
            headers={"Authorization": f"Bearer {narrow}"},
        )  # fmt: skip

    _, theirs = api("POST", "", GIVEN)
    place = f"{theirs['id']}/"
    _, waiting = api("POST", f"{place}test/")
    refused = {
        "invoices": ask("POST", "", {**GIVEN, "types": ["invoice.finalised"]}),
        "budgets": ask("POST", "", GIVEN),
        "elsewhere": ask("PATCH", place, {"url": "https://elsewhere.example/"}),
        "secret": ask("POST", f"{place}secret/"),
        "address": ask("POST", f"{place}address/"),
        "sent": ask("GET", f"{place}deliveries/"),
    }
    assert {name: answer.status_code for name, answer in refused.items()} == dict.fromkeys(refused, 403)
    assert refused["invoices"].json()["permission"] == "invoices.view"
    assert ask("POST", f"{place}deliveries/{waiting['id']}/replay/").status_code == 409, "a test holds no figures"
    own = ask("POST", "", {**GIVEN, "name": "own", "types": ["job.failed"]})
    assert own.status_code == 201, own.content
    assert ask("GET", f"{own.json()['id']}/deliveries/").status_code == 200
    assert ask("PATCH", f"{own.json()['id']}/", {"types": ["budget.alert"]}).status_code == 403
    with tenant_scope(tenant.id):
        assert {row.name: row.host for row in Webhook.objects.all()} == {
            "pager": "hooks.example",
            "own": "hooks.example",
        }
    person = Client()
    user = factories.make_user()
    with tenant_scope(tenant.id):
        role = Role.objects.create(name="Hooks", permissions=["tenant.view", "webhooks.manage"])
        Grant.objects.create(membership=Membership.objects.create(user=user), role=role)
    person.force_login(user)
    assert person.get(f"/t/acme/webhooks/{place}").status_code == 403
    for act, form in (("change", {**GIVEN, "enabled": "on"}), ("secret", {}), ("address", {})):
        answer = person.post(f"/t/acme/webhooks/{place}{act}/", form)
        assert answer.status_code == 403 and "whsec_" not in text_of(answer), act
    assert person.get(f"/t/acme/webhooks/{own.json()['id']}/").status_code == 200
