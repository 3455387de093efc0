"""The sweep of the ops worker: handles events of the payment provider, takes the steps that are due, reads back.

One worker sweeps at a time. A step is claimed by a short transaction that puts its next try off: a worker that dies in
between leaves it due again, and it is repeated with the same idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import structlog
from django.db import connection, transaction

from billing.collecting import circuit, inbox
from billing.collecting.doing import take
from billing.collecting.finishing import declined, done, put_off, refused
from billing.collecting.methods import read_again
from billing.collecting.reading import work_of
from billing.collecting.receiving import look
from billing.payments.attempts import Patience, patience
from billing.payments.chosen import payment_gateway
from billing.payments.errors import Declined, GatewayRefused, Later, OutcomeUnknown
from tenants.isolation.locks import alone

#: How long a claim lasts: longer than any step, with its repetitions.
CLAIM_S = 600
FIRST_WAIT_S, LONGEST_WAIT_S = 4, 120
#: How long a sweep repeats calls to a provider that does not answer; the one that waits then ends by its own timeout.
PATIENCE_S = 20
#: At most so many of each kind a sweep, so that events are handled in between.
BATCH = 100
# The choice is materialized: joined to a plain subquery, a plan may repeat it, and claim several rows at once.
STEP = """
WITH due AS MATERIALIZED (SELECT d.id FROM billing_collection d WHERE d.state = 'waiting' AND d.next_at <= exchequer_now()
    AND NOT EXISTS (SELECT FROM billing_collection e WHERE e.tenant_id = d.tenant_id AND e.invoice_id = d.invoice_id
      AND e.n < d.n AND e.state IN ('waiting', 'failed'))
  ORDER BY d.next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_collection c SET first_at = coalesce(c.first_at, exchequer_now()), tries = c.tries + 1,
  next_at = exchequer_now() + %(claim)s * interval '1 second'
FROM due WHERE c.id = due.id RETURNING c.id, c.tenant_id
"""
LOOK = """
WITH due AS MATERIALIZED (SELECT d.id FROM billing_collection d WHERE d.look_at <= exchequer_now() AND d.external_id <> ''
  ORDER BY d.look_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_collection c SET look_at = exchequer_now() + %(claim)s * interval '1 second'
FROM due WHERE c.id = due.id RETURNING c.id, c.tenant_id
"""
METHODS = """
WITH due AS MATERIALIZED (SELECT d.id FROM billing_paymentaccount d WHERE d.look_at <= exchequer_now() AND d.external_id <> ''
  ORDER BY d.look_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_paymentaccount c SET look_at = exchequer_now() + %(claim)s * interval '1 second'
FROM due WHERE c.id = due.id RETURNING c.id, c.tenant_id
"""
log = structlog.get_logger(__name__)


def sweep() -> int:
    """Do what is due, up to BATCH of each kind; return how many steps and readings concluded (control role).

    Call it with no transaction open. Without a provider nothing is due.
    """
    if not payment_gateway().collects:
        return 0
    with alone("billing.collecting") as mine, patience(PATIENCE_S) as left:
        if not mine:
            return 0
        inbox.handle_waiting()
        concluded = sum(_conclude(one, tenant, _step) for one, tenant in _claimed(STEP, left))
        concluded += sum(_conclude(one, tenant, _methods) for one, tenant in _claimed(METHODS, left))
        return concluded + sum(_conclude(one, tenant, _look) for one, tenant in _claimed(LOOK, left))


def _claimed(statement: str, left: Patience) -> Iterator[tuple[UUID, UUID]]:
    """Claim one after the other while the provider answers."""
    for _ in range(BATCH):
        if left.over or not circuit.places(BATCH):
            return
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, {"claim": CLAIM_S})
            found = cursor.fetchone()
        if found is None:
            return
        yield found


def _conclude(one: UUID, tenant_id: UUID, act: Callable[[UUID, UUID], None]) -> bool:
    try:
        act(one, tenant_id)
    except (OutcomeUnknown, Later) as error:
        # No fault: the provider answers later. The claim ends by itself, and the step is due again.
        log.info("collecting.later", step=str(one), tenant=str(tenant_id), reason=error.code)
        return False
    except Exception:
        # A fault of ours stops no other step; the claim ends by itself.
        log.exception("collecting.failed", step=str(one), tenant=str(tenant_id))
        return False
    return True


def _step(step_id: UUID, tenant_id: UUID) -> None:
    work = work_of(step_id, tenant_id)
    try:
        outcome = take(payment_gateway(), work)
    except OutcomeUnknown as unknown:
        circuit.failed()
        put_off(work, _wait(work.step.tries), unknown)
    except Later as later:
        put_off(work, later.after_s, later)
    except Declined as error:
        circuit.answered()
        declined(work, error)
    except GatewayRefused as error:
        circuit.answered()
        refused(work, error)
    else:
        circuit.answered()
        done(work, outcome)


def _look(push_id: UUID, tenant_id: UUID) -> None:
    _read(lambda: look(payment_gateway(), push_id, tenant_id))


def _methods(account_id: UUID, tenant_id: UUID) -> None:
    _read(lambda: read_again(payment_gateway(), account_id, tenant_id))


def _read(act: Callable[[], None]) -> None:
    try:
        act()
    except OutcomeUnknown:
        circuit.failed()
        raise
    circuit.answered()


def _wait(tries: int) -> int:
    return min(FIRST_WAIT_S << min(tries - 1, 10), LONGEST_WAIT_S)
