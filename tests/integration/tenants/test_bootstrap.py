"""An organisation without a browser."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from tenants.operators import grants

pytestmark = pytest.mark.django_db
AsControl = Callable[[], AbstractContextManager[None]]


def run(command: str, *args: str) -> str:
    out = StringIO()
    call_command(command, *args, stdout=out)
    return out.getvalue()


def test_create_tenant_prints_a_key_that_works_and_refuses_what_exists(as_control: AsControl, client: Client) -> None:
    args = ("create_tenant", "Vision Lab", "--email", "ana@example.org", "--password", "correct horse battery")
    with as_control():
        made = json.loads(run(*args))
        with pytest.raises(CommandError, match="already exists"):
            run(*args)
    answer = client.get("/api/v1/me/", headers={"Authorization": f"Bearer {made['api_key']}"})
    assert answer.status_code == 200
    assert answer.json()["tenant"]["slug"] == "vision-lab"


def test_create_tenant_names_what_is_wrong_and_leaves_nothing(as_control: AsControl) -> None:
    with as_control():
        for wrong in (
            ["--email", "nobody"],
            ["--email", "a@b.example", "--password", "short"],
            ["--email", "a@b.example", "--timezone", "Mars/Base"],
            *(["--email", "a@b.example", "--currency", code] for code in ("ABC", "XXX", "XAU", "eur", "EURO", "")),
        ):
            with pytest.raises(CommandError):
                run("create_tenant", "Half", *wrong)
        with pytest.raises(CommandError, match="no tenant"):
            run("verify_audit", "--tenant", "half")


def test_verify_audit_counts_every_entry(as_control: AsControl) -> None:
    with as_control():
        run("create_tenant", "Vision", "--email", "ana@example.org")
        assert "the chain is valid" in run("verify_audit", "--tenant", "vision", "--database-only")


def test_a_key_that_an_operator_chose_works_and_is_not_stored(
    as_control: AsControl, client: Client, superuser: Any
) -> None:
    with as_control():
        run("create_tenant", "Own", "--email", "a@b.example", "--password", "short-pw", "--api-key", "my-own-key")
    assert client.get("/api/v1/me/", headers={"Authorization": "Bearer my-own-key"}).status_code == 200
    refused = client.get("/api/v1/me/", headers={"Authorization": "Bearer my-own-kex"})
    assert (refused.status_code, refused.json()["title"]) == (401, "This API key is unknown, expired or revoked.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT prefix FROM tenants_apikey")
        assert all("my-own" not in prefix for (prefix,) in cursor.fetchall())


@pytest.mark.parametrize("key", ["short", "k" * 201, "with a space", "tab\tin it", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_and_leaves_nothing(as_control: AsControl, key: str) -> None:
    with as_control():
        with pytest.raises(CommandError, match="printable ASCII characters without spaces"):
            run("create_tenant", "Own", "--email", "a@b.example", "--password", "short-pw", "--api-key", key)
        with pytest.raises(CommandError, match="no tenant"):
            run("verify_audit", "--tenant", "own")


def test_config_shows_no_secret() -> None:
    shown = run("config")
    assert "EXCHEQUER_HTTP_PORT=" in shown
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        if name in ("SECRET_KEY", "AWS_SECRET_ACCESS_KEY"):
            assert value in ("", "***")
        if name.startswith("DATABASE_") and value:
            assert "***" in value


def test_the_first_operator_comes_from_the_environment_once(
    as_control: AsControl, console: AsControl, settings: Any, capsys: Any
) -> None:
    key = "xop_a-key-that-an-operator-chose-once"
    given = {"init_operator_email": "root@platform.example", "init_operator_password": "long enough"}

    def bootstrap(**more: str) -> None:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update=more)
        call_command("bootstrap")

    with as_control():
        with pytest.raises(CommandError, match="INIT_OPERATOR_EMAIL, EXCHEQUER_INIT_OPERATOR_PASSWORD"):
            bootstrap(init_operator_api_key=key)
        for wrong in ("xop_short", "exq_a-key-that-an-operator-chose-once", "xop_a key-that-an-operator-chose-once"):
            with pytest.raises(CommandError, match="printable ASCII characters without spaces"):
                bootstrap(**given, init_operator_api_key=wrong)
            assert grants.operators() == [], "nothing is left of a start that failed"
        bootstrap(init_operator_api_key=key)
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"init_operator_email": "eve@platform.example"})
        call_command("bootstrap")  # another address, and the same key
        assert [(row.email, row.roles) for row in grants.operators()] == [
            ("root@platform.example", ("platform_admin",))
        ]
    assert "none was made" in capsys.readouterr().out
    with console():
        me = Client().get("/api/operator/v1/me/", headers={"Authorization": f"Bearer {key}"})
    assert (me.status_code, me.json()["roles"]) == (200, ["platform_admin"])
