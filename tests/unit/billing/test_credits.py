"""Credit, used in order: what a bill takes of which block, and that nothing is lost or made."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.money import Money
from billing.rating.billed.bills import bill
from billing.rating.billed.credits import Credit, CreditKind
from billing.rating.billed.tax import TaxRate, TaxTerms
from billing.rating.billed.terms import Terms
from billing.rating.billed.usage import UsageLine
from billing.rating.prepaid import OpenMonths, usage_covered

AT = date(2027, 3, 31)
DAYS = st.integers(-40, 40).map(lambda days: AT + timedelta(days=days))


@st.composite
def credits(draw: st.DrawFn) -> list[Credit]:
    """Draw credits of both kinds, some of which have ended or not begun."""
    made = []
    for number in range(draw(st.integers(0, 6))):
        starts_on = draw(DAYS)
        ends = draw(st.none() | st.integers(1, 60))
        made.append(
            Credit(
                key=str(UUID(int=number)),
                kind=draw(st.sampled_from(CreditKind)),
                left=euro(draw(st.integers(0, 500))),
                starts_on=starts_on,
                expires_on=ends and starts_on + timedelta(days=ends),
                priority=draw(st.integers(0, 3)),
            )
        )
    return made


def euro(cents: int) -> Money:
    return Money(Decimal(cents).scaleb(-2), "EUR")


def usage(cents: int) -> list[UsageLine]:
    return [
        UsageLine(
            key="usage", project_id=UUID(int=1), meter="seconds", price_id=None, quantity=Decimal(1),
            unit_amount=euro(cents).amount, amount=euro(cents), listed=euro(cents),
        )
    ]  # fmt: skip


def taxed(percent: int) -> TaxTerms:
    rates = (TaxRate("DE", Decimal(percent), date(2020, 1, 1)),)
    return TaxTerms(seller_country="DE", buyer_country="DE", rates=rates)


@given(given_credits=credits(), cents=st.integers(0, 2_000), percent=st.integers(0, 25), paid_first=st.booleans())
def test_b90_a_credit_is_used_only_once_all_before_it_are_used_up(
    given_credits: list[Credit], cents: int, percent: int, paid_first: bool
) -> None:
    terms = Terms(currency="EUR", paid_first=paid_first)
    made = bill(usage(cents), terms, credits=given_credits, tax=taxed(percent), at=AT)
    by_key = {one.key: one for one in given_credits}
    used = {one.key: one.amount for one in made.credits}
    for use in made.credits:
        assert use.amount + use.left == by_key[use.key].left
        assert use.amount.amount > 0
    paid = sum((use.amount for use in made.credits if not use.before_tax), euro(0))
    assert made.due + paid == made.total
    in_time = [c for c in given_credits if c.starts_on <= AT and (c.expires_on is None or c.expires_on > AT)]
    assert used.keys() <= {one.key for one in in_time}
    first = CreditKind.PAID if paid_first else CreditKind.PROMOTIONAL
    ordered = sorted(
        in_time, key=lambda c: (c.kind is not first, c.priority, c.expires_on or date.max, c.starts_on, c.key)
    )
    # Before tax and after it, what comes later is touched only if what comes before it is used up.
    for kinds in [tuple(CreditKind)] if paid_first else [(one,) for one in CreditKind]:
        of_kind = [one for one in ordered if one.kind in kinds]
        for earlier, later in pairwise(of_kind):
            if later.key in used:
                assert used.get(earlier.key, euro(0)) == earlier.left


@given(given_credits=credits(), percent=st.integers(0, 25), paid_first=st.booleans(), unbilled=st.integers(0, 900))
def test_b91_usage_that_prepaid_credit_covers_leaves_nothing_due(
    given_credits: list[Credit], percent: int, paid_first: bool, unbilled: int
) -> None:
    """The running month alone: its bill over what is covered, in whole cents, is paid in full by the same credit."""
    months = OpenMonths(AT, date(2027, 2, 28))
    covered = usage_covered(given_credits, months, Decimal(percent), paid_first=paid_first)
    cents = int(covered * 100)
    terms = Terms(currency="EUR", paid_first=paid_first)
    # Tax is rounded to the cent, which may add up to half of one.
    assert bill(usage(cents), terms, credits=given_credits, tax=taxed(percent), at=AT).due <= euro(1)
    more = usage_covered(given_credits, OpenMonths(AT, months.before, euro(unbilled).amount), Decimal(percent))
    assert more >= usage_covered(given_credits, months, Decimal(percent))
