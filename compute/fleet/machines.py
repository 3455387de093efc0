"""Machines that join: tokens that let one in, the login of its node, and operators who drain or end a node.

A token is made for one name, lets in once and soon expires; that of a pool lets its machines in for a year. Only a digest of it is kept. The machine that joins makes its
own password and its secret and sends a verifier and a digest of them, so that nobody else ever has either.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from compute.labels import as_text, fault_of
from compute.models import Node, NodeToken
from tenants.clock import DatabaseNow, now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

TOKEN_FOR, POOL_TOKEN_FOR = timedelta(hours=1), timedelta(days=365)
MOST_SHOWN = 50
TOKEN_MADE, TOKEN_REVOKED = "compute.node_token.made", "compute.node_token.revoked"
JOINED, ENDED = "compute.node.joined", "compute.node.ended"
DRAINED, RETURNED = "compute.node.drained", "compute.node.returned"
LABELLED = "compute.node.labelled"
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,118}[a-z0-9])?")
VERIFIER = re.compile(r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")
DIGEST = re.compile(r"[0-9a-f]{64}")


class NotLetIn(PermissionDenied):
    """This token does not let a machine in. Make another one on the console's page Fleet."""

    code = "not_let_in"


@dataclass(frozen=True)
class Joined:
    """The node that a machine became, and the role by which it logs in to the database."""

    node_id: UUID
    name: str
    login: str


def make_token(*, operator: Operator, name: str, reason: str, pool: bool = False) -> tuple[NodeToken, str]:
    """Return a token for a machine that is to be the node of that name, and its secret, which nothing stores.

    `pool`: for every machine whose name is this one, a dash, and more. A node that is known already gets new credentials by it, and
    loses the old ones. Raises Invalid.
    """
    operator.require("fleet.manage")
    reason = check_reason(reason)
    name = name.strip().lower()
    if not NAME.fullmatch(name):
        raise Invalid(fields={"name": ["Name it with letters a to z, digits, dots and dashes, at most 120."]})
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        row = NodeToken.objects.create(
            node_name=name,
            pool=pool,
            digest=_digest(secret),
            made_by=operator.id,
            made_by_label=operator.label[:254],
            expires_at=now() + (POOL_TOKEN_FOR if pool else TOKEN_FOR),
        )
        record_act(operator, TOKEN_MADE, target=("node token", row.id, f"{name}-*" if pool else name), reason=reason)
    return row, secret


def revoke_token(*, operator: Operator, token_id: UUID, reason: str) -> None:
    """Let nobody in by this token. Raises NotFound, Invalid, and Conflict if it is used, revoked or expired."""
    operator.require("fleet.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        row = NodeToken.objects.select_for_update(no_key=True).filter(id=token_id).first()
        if row is None:
            raise NotFound
        if fault := _fault(row):
            raise Conflict(f"Nothing is to be revoked: this token {fault}.")
        NodeToken.objects.filter(id=row.id).update(revoked_at=DatabaseNow())
        record_act(operator, TOKEN_REVOKED, target=("node token", row.id, row.node_name), reason=reason)


def open_tokens() -> list[NodeToken]:
    """Return the newest tokens that still let a machine in."""
    open_now = NodeToken.objects.filter(used_at=None, revoked_at=None, expires_at__gt=DatabaseNow())
    return list(open_now.order_by("-id")[:MOST_SHOWN])


def join(*, token: str, verifier: str, secret: str, ip: str, request_id: str, name: str = "") -> Joined:
    """Make the machine that shows this token a node with a login of its own; the token is then used up, unless it is a pool's.

    `name`: its own, if the token is a pool's. `verifier`: SCRAM-SHA-256, of the password that it made; `secret`: the SHA-256, in hex, of its secret. Raises Invalid, and NotLetIn, which says why.
    """
    if not VERIFIER.fullmatch(verifier):
        raise Invalid(fields={"verifier": ["Send a SCRAM-SHA-256 verifier, as manage.py node join does."]})
    if not DIGEST.fullmatch(secret):
        raise Invalid(fields={"secret": ["Send a SHA-256 in hex, as manage.py node join does."]})
    digest = _digest(token)
    with transaction.atomic():
        row = NodeToken.objects.filter(digest=digest).first()
        if row is None:
            raise NotLetIn("This is no token of this installation: copy it whole, or make another one.")
        if fault := _fault(row):
            raise NotLetIn(f"This token {fault}. Make another one on the console's page Fleet.")
        name = _member(row, name) if row.pool else row.node_name
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT node, login FROM compute_join_node(%s, %s, %s, %s)",
                [digest, verifier, bytes.fromhex(secret), name],
            )
            made = cursor.fetchone()
        if made is None:
            raise NotLetIn("This token was used at this moment. Make another one on the console's page Fleet.")
        by = Operator(id=row.made_by, label=f"token of {row.made_by_label}", ip=ip, request_id=request_id)
        record_act(by, JOINED, target=("node", made[0], name), reason="A machine joined with the token.")
    return Joined(made[0], name, made[1])


def end(*, operator: Operator, node_id: UUID, reason: str) -> None:
    """Take a node's login, and its sessions, at once; its work goes to other nodes. Raises NotFound, Conflict, Invalid."""
    with transaction.atomic():
        node, reason = _locked(operator, node_id, reason)
        with connection.cursor() as cursor:
            cursor.execute("SELECT compute_end_node(%s)", [node.id])
        record_act(operator, ENDED, target=("node", node.id, node.name), reason=reason)


def drain(*, operator: Operator, node_id: UUID, reason: str) -> None:
    """Give a node no more work; what runs there goes on to its end. Raises NotFound, Conflict, Invalid."""
    _drain(operator, node_id, reason, draining=True)


def give_back(*, operator: Operator, node_id: UUID, reason: str) -> None:
    """Give a drained node work again. Raises NotFound, Conflict, Invalid."""
    _drain(operator, node_id, reason, draining=False)


def label(*, operator: Operator, node_id: UUID, labels: Any, reason: str) -> None:
    """Give a node these labels, and take all others; what runs there goes on. Raises NotFound, Conflict, Invalid."""
    operator.require("fleet.manage")
    if fault := fault_of(labels):
        raise Invalid(fields={"labels": [fault]})
    with transaction.atomic():
        node, reason = _locked(operator, node_id, reason)
        Node.objects.filter(id=node.id).update(labels=labels)
        reason = f"{as_text(labels) or 'no labels'}: {reason}"
        record_act(operator, LABELLED, target=("node", node.id, node.name), reason=reason)


def _drain(operator: Operator, node_id: UUID, reason: str, *, draining: bool) -> None:
    with transaction.atomic():
        node, reason = _locked(operator, node_id, reason)
        if node.draining == draining:
            raise Conflict(f"{node.name} {'is drained already' if draining else 'is not drained'}.")
        Node.objects.filter(id=node.id).update(draining=draining)
        record_act(operator, DRAINED if draining else RETURNED, target=("node", node.id, node.name), reason=reason)


def _locked(operator: Operator, node_id: UUID, reason: str) -> tuple[Node, str]:
    operator.require("fleet.manage")
    reason = check_reason(reason)
    node = Node.objects.select_for_update(no_key=True).filter(id=node_id).first()
    if node is None:
        raise NotFound
    if node.ended_at is not None:
        raise Conflict(f"{node.name} has ended. To bring it back, make a token and join again.")
    return node, reason


def _member(row: NodeToken, name: str) -> str:
    if not (NAME.fullmatch(name) and name.startswith(f"{row.node_name}-")):
        what = (
            f"This token lets in machines whose names begin with {row.node_name}-, not {name or 'one without a name'}."
        )
        raise NotLetIn(f"{what} Join with --pool {row.node_name}.")
    return name


def _fault(row: NodeToken) -> str:
    at: datetime = now()
    if row.used_at is not None:
        return "was used"
    if row.revoked_at is not None:
        return "was revoked"
    return "has expired" if row.expires_at <= at else ""


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


ACTS = {"drain": drain, "return": give_back, "end": end}
