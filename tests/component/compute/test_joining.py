"""Machines join by a token of the console, and operators drain and end nodes, by API and page, with an entry each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from compute.leases import holders
from compute.models import Node, NodeToken
from tenants.models import OperatorAct
from tenants.operators import grants
from tests.conftest import SESSION
from tests.support import factories
from tests.support.console import ROOT, log_in

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
Role = Callable[[], AbstractContextManager[None]]
WHY = {"reason": "A second machine"}


def verifier(password: str, admin: psycopg.Connection) -> str:
    return admin.pgconn.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()


def opens(login: str, password: str) -> bool:
    try:
        psycopg.connect(
            host=str(SESSION.cluster.folder),
            dbname=str(connection.settings_dict["NAME"]),
            user=login,
            password=password,
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_token_lets_one_machine_in_for_an_hour(
    as_control: Role, console: Role, superuser: psycopg.Connection, demo_clock: DemoClock, settings: Any
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True, "bound_to": "127.0.0.1"})
    with as_control():
        grants.grant(ROOT, "platform_admin", password=factories.PASSWORD)
    machine = Client()

    def token(name: str = "atlas") -> str:
        made = desk.post("/api/operator/v1/nodes/tokens/", {"name": name, **WHY}, content_type="application/json")
        assert made.status_code == 201, made.content
        return str(made.json()["token"])

    def join(shown: str, password: str) -> Any:
        digest = hashlib.sha256(f"secret of {password}".encode()).hexdigest()
        sent = {"token": shown, "verifier": verifier(password, superuser), "secret": digest}
        return machine.post("/fleet/join/", sent, content_type="application/json")

    def known(secret: str) -> bool:
        kept = superuser.execute("SELECT FROM compute_nodesecret WHERE digest = %s", [holders.digest(secret)])
        return kept.fetchone() is not None

    with console():
        desk = log_in()
        assert desk.post("/fleet/tokens/", {"name": "a b", **WHY}).status_code == 400
        page = desk.post("/fleet/tokens/", {"name": "atlas", **WHY})
        assert "node join" in page.content.decode()
        first, late, revoked = token(), token("late"), token("revoked")
        joined = join(first, "one")
        assert joined.status_code == 200, joined.content
        login = joined.json()["login"]
        assert opens(login, "one")
        assert join(first, "two").json()["detail"].startswith("This token was used.")
        row = NodeToken.objects.get(node_name="revoked")
        desk.post(f"/api/operator/v1/nodes/tokens/{row.id}/revoke/", WHY, content_type="application/json")
        assert join(revoked, "two").json()["detail"].startswith("This token was revoked.")
        for bad in (
            "",
            {"token": 1},
            {"token": "x", "verifier": "md5"},
            {"token": "x", "verifier": "md5", "secret": "short"},
        ):
            assert machine.post("/fleet/join/", bad, content_type="application/json").status_code in (400, 403)

        assert join(token(), "again").status_code == 200, "a known node gets new credentials"
        assert (opens(login, "one"), opens(login, "again")) == (False, True)
        assert [known(f"secret of {one}") for one in ("one", "again")] == [False, True]

        node = Node.objects.get(name="atlas")
        for act, draining in (("drain", True), ("return", False)):
            path = f"/api/operator/v1/nodes/{node.id}/{act}/"
            assert desk.post(path, WHY, content_type="application/json").status_code == 204
            assert desk.post(path, WHY, content_type="application/json").status_code == 409
            node.refresh_from_db()
            assert node.draining is draining
        assert desk.post(f"/fleet/nodes/{node.id}/end/", WHY, follow=True).status_code == 200
        assert not opens(login, "again")
        assert not known("secret of again")
        demo_clock.advance(timedelta(hours=2))
        assert join(late, "late").json()["detail"].startswith("This token has expired.")
        acts = OperatorAct.objects.filter(action__startswith="compute.node").order_by("seq")
        assert [act.action.removeprefix("compute.") for act in acts] == [
            *["node_token.made"] * 4,
            "node.joined",
            "node_token.revoked",
            "node_token.made",
            "node.joined",
            "node.drained",
            "node.returned",
            "node.ended",
        ]
    superuser.execute(f"DROP ROLE {login}")


def test_a_token_of_a_pool_lets_in_its_machines_until_it_is_revoked(
    as_control: Role, console: Role, superuser: psycopg.Connection, demo_clock: DemoClock, settings: Any
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True, "bound_to": "127.0.0.1"})
    with as_control():
        grants.grant(ROOT, "platform_admin", password=factories.PASSWORD)
    machine, logins = Client(), set()

    def join(shown: str, name: object) -> Any:
        sent = {"token": shown, "verifier": verifier("one", superuser), "secret": "0" * 63 + str(len(str(name)) % 10)}
        answer = machine.post("/fleet/join/", sent | {"name": name}, content_type="application/json")
        if answer.status_code == 200:
            logins.add(answer.json()["login"])
        return answer

    with console():
        desk = log_in()
        page = desk.post("/fleet/tokens/", {"name": "gpu", "pool": "on", **WHY}).content.decode()
        assert "--pool gpu" in page
        sent = {"name": "gpu", "pool": True, **WHY}
        made = desk.post("/api/operator/v1/nodes/tokens/", sent, content_type="application/json").json()
        assert made["pool"] is True
        demo_clock.advance(timedelta(days=300))
        for name in ("gpu-0", "gpu-10", "gpu-0"):
            assert join(made["token"], name).json()["node"] == name
        assert len(logins) == 2, "a machine that starts again keeps its login"
        for name in ("gpu", "gpu-", "gpus-0", "cpu-0", "", "gpu-0 "):
            refused = join(made["token"], name)
            assert refused.status_code == 403
            assert "Join with --pool gpu." in refused.json()["detail"]
        assert join(made["token"], 7).status_code == 400
        desk.post(f"/api/operator/v1/nodes/tokens/{made['id']}/revoke/", WHY, content_type="application/json")
        assert join(made["token"], "gpu-3").json()["detail"].startswith("This token was revoked.")
        single = desk.post("/api/operator/v1/nodes/tokens/", sent | {"pool": False}, content_type="application/json")
        assert join(single.json()["token"], "other-name").json()["node"] == "gpu", "its name stands in its token"
        digest = superuser.execute("SELECT digest FROM compute_nodetoken WHERE pool").fetchone()
        assert digest is not None
    with superuser.transaction(force_rollback=True):
        superuser.execute("UPDATE compute_nodetoken SET revoked_at = NULL WHERE pool")
        found = "SELECT FROM compute_join_node(%s, %s, %s, %s)"
        for elsewhere in ("web-0", None):
            shown = [digest[0], verifier("one", superuser), bytes(32), elsewhere]
            assert superuser.execute(found, shown).fetchall() == [], "the database compares the names too"
    for login in logins:
        superuser.execute(f"DROP ROLE {login}")
