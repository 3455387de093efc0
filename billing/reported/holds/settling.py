"""Reported usage that names holds: they pay it, and the budgets what they do not cover.

An event is never refused for money: it has happened. What its hold does not cover, because it is used up, released or
expired, or because a budget that stops running work has been lowered, is unreserved usage and counts in full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from billing.budgets import holds
from billing.budgets.unreserved import People, count_in, count_unreserved, work_of
from billing.metering.rate import settle_segments
from billing.models import Hold
from billing.models.holds import RELEASED
from billing.usage.intervals import KeyClaim, Series
from billing.usage.rollups import CUT, Segment
from tenants import clock


def settle_reported(
    segments: Sequence[Segment],
    claimed: Sequence[KeyClaim],
    series: Mapping[bytes, Series],
    people: People,
    *,
    budgeted: bool = True,
) -> list[Segment]:
    """Charge the segments of one request to the holds that its events name, else to the budgets, if there are any.

    Returns them, those cut that a hold covers in part. Locks the holds in order of id, then every counter in one
    statement.
    """
    named = {item.key_hash: item.interval.hold_id for item in claimed if item.interval.hold_id}
    if not named:
        count_unreserved(segments, series, people, budgeted=budgeted)
        return list(segments)
    paid: dict[UUID, list[Segment]] = defaultdict(list)
    result, rest = [], []
    for segment in segments:
        hold_id = named.get(segment.key_hash)
        if hold_id is None:
            result.append(segment)
            rest.append(segment)
        else:
            paid[hold_id].append(segment)
    months = {segment.month for segment in segments}
    states, locked = holds.lock_several(paid.keys(), months, beside=work_of(segments, series, people))
    board = {counter.id: counter for counter in locked}
    over = set(Hold.objects.filter(pk__in=paid, expires_at__lte=clock.now()).values_list("pk", flat=True))
    wallets: dict[str, Decimal] = {}
    for state in states.values():
        wallets[state.currency] = min(state.prepaid, wallets.get(state.currency, state.prepaid))
    for hold_id in sorted(paid):
        state = states[hold_id]
        # As the holds before left counters and wallet.
        state = replace(
            state, counters=tuple(board[counter.id] for counter in state.counters), prepaid=wallets[state.currency]
        )
        if hold_id in over:  # the sweep returns its money
            state = replace(state, state=RELEASED)
        mine, uncovered = paid[hold_id], list[Segment]()
        state, _ = settle_segments(state, mine, series, uncovered, mine[0].batch_id)
        board |= {counter.id: counter for counter in state.counters}
        wallets[state.currency] = state.prepaid
        result += mine
        result += [segment for segment in uncovered if segment.part >= CUT]  # the others are among `mine`
        rest += uncovered
    charged = [segment for segment in rest if segment.amount]
    if charged:
        count_in(list(board.values()), charged, series, people)
    return result
