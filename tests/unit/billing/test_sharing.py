"""Shared cost is split to the minor unit: whatever the rules, the totals are the sum of the costs."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.allocation.sharing import BY_QUOTA, BY_USE, EVEN, FIXED, ORGANISATION, PROJECT, TAG, Cost, Rule, share
from billing.money import Money

NAMES = ["a", "b", "c", "d"]
COSTS = st.builds(
    lambda project, team, minor: Cost(project, {"team": team}, Money(Decimal(minor) / 100, "EUR")),
    st.sampled_from([None, *NAMES]),
    st.sampled_from([None, "core", "web"]),
    st.integers(-5_000, 50_000),
)
SHARES = {"a": Decimal("33.3333"), "b": Decimal("33.3333"), "d": Decimal("33.3334")}
RULES = st.builds(
    lambda source, how, project: Rule(
        source=source,
        how=how,
        project=project if source == PROJECT else None,
        tag=("team", "core") if source == TAG else None,
        resource="devices" if how == BY_QUOTA else "",
        shares=SHARES if how == FIXED else {},
    ),
    st.sampled_from([ORGANISATION, PROJECT, TAG]),
    st.sampled_from([EVEN, BY_USE, BY_QUOTA, FIXED]),
    st.sampled_from(["b", "c"]),
)
QUOTAS = {"devices": {"a": 3, "b": 4, "c": 0}}


def cents(*parts: tuple[str | None, int]) -> list[Cost]:
    return [Cost(project, {}, Money(Decimal(minor) / 100, "EUR")) for project, minor in parts]


@given(costs=st.lists(COSTS, max_size=12), rules=st.lists(RULES, max_size=4))
def test_b64_totals_are_the_sum_of_the_costs_and_what_is_given_is_received(
    costs: list[Cost], rules: list[Rule]
) -> None:
    zero = Money.zero("EUR")
    found = share(costs, rules, QUOTAS, "EUR")
    assert sum((row.total for row in found.values()), zero) == sum((cost.amount for cost in costs), zero)
    assert sum((row.given for row in found.values()), zero) == sum((row.received for row in found.values()), zero)
    for project, row in found.items():
        assert row.own == sum((cost.amount for cost in costs if cost.project == project), zero)
        assert row.total.rounded() == row.total
    if not rules:
        assert all(not row.given and not row.received for row in found.values())


def test_each_rule_splits_a_shortfall_its_own_way() -> None:
    costs = cents((None, 1_000), ("a", 300), ("b", 600), ("d", 100))
    for how, more, expected in (
        (EVEN, {}, [334, 333, 333]),
        (BY_USE, {}, [300, 600, 100]),
        (BY_QUOTA, {"resource": "devices"}, [429, 571, 0]),
        (FIXED, {"shares": SHARES}, [333, 333, 334]),
    ):
        rule = Rule(source=ORGANISATION, how=how, **more)  # type: ignore[arg-type]
        found = share(costs, [rule], QUOTAS, "EUR")
        assert [found[name].received.minor for name in ("a", "b", "d")] == expected, how
        assert (found[None].given.minor, found[None].total.minor) == (1_000, 0)


def test_a_shared_project_receives_nothing_and_the_first_rule_takes_a_cost() -> None:
    costs = [*cents(("a", 100), ("b", 100)), Cost("c", {"team": "core"}, Money(Decimal(5), "EUR"))]
    rules = [
        Rule(source=TAG, how=FIXED, tag=("team", "core"), shares={"a": Decimal(100)}),
        Rule(source=PROJECT, how=EVEN, project="c"),
    ]
    found = share(costs, rules, {}, "EUR")
    assert [found[name].total.minor for name in ("a", "b", "c")] == [600, 100, 0]
    # What nobody can receive stays with its source.
    alone = share(cents((None, 100), ("c", 50)), [Rule(source=ORGANISATION, how=EVEN), rules[1]], {}, "EUR")
    assert {name: row.total.minor for name, row in alone.items()} == {None: 100, "c": 50}
