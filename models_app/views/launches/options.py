"""Texts of the launch form about devices, prices and refusals."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.dunning.stops import Stop, stop_in_force
from billing.money import Money
from billing.pricing.quotes import Estimate
from billing.queries.budgets import BudgetStatus, budget
from billing.queries.prices import PriceView, prices_in_force
from compute import queries as work
from compute.jobs import alternatives
from compute.jobs.job_request import ON_DEMAND, SPOT
from compute.jobs.jobs import JobRequest
from tenants import quotas
from tenants.access.actor import Actor, InProject
from tenants.errors import ExchequerError, NotFound
from tenants.quotas import scopes

METER = "device_seconds"
LOWER = "Lower the time limit or the cost limit."
RAISE = "Ask finance or an admin to raise the budget."
HOUR = 3600


@dataclass(frozen=True)
class DeviceOffer:
    """A device class as a card of the form. Prices are per hour, on demand and on spot; None if no price is in force."""

    name: str
    title: str
    hourly: Money | None
    spot: Money | None
    free: int
    total: int
    shares: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sentence:
    """A sentence with a placeholder `{}` for each part: money, seconds, or a name. The page formats them."""

    text: str
    parts: tuple[Money | int | str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """The cost panel. Nine runs of ten end between `least` and `most`, of which start-up takes `start`.

    `learnt` describes the runs it is based on; `limits` are the quotas that bind it; `refusals` would stop the launch now.
    `spot`: of a spot launch, what it saves.
    """

    least: Money
    most: Money
    least_s: int
    most_s: int
    start: Money
    start_s: int
    learnt: str
    worst: Money
    rate: Money
    limit_s: Decimal
    budget_left: Money | None
    budget: BudgetStatus | None
    waiting: str
    limits: Sequence[work.LimitAfter]
    refusals: Sequence[Sentence]
    warnings: Sequence[Sentence]
    spot: work.SpotOffer | None


@dataclass(frozen=True)
class Refusal:
    """Why a launch was refused, and what helps; `budget` if a budget refused it, `quota_of` whose quota of the month did.

    `unsaid`: more was requested without a reason.
    """

    title: str
    text: Sentence
    steps: Sequence[str]
    budget: BudgetStatus | None = None
    quota_of: InProject | None = None
    askable: bool = False
    unsaid: bool = False


@dataclass(frozen=True)
class Stopped:
    """The overdue invoice that stops launches and deploys, and whether the reader may open it."""

    stop: Stop
    may_open: bool


def stopped(actor: Actor) -> Stopped | None:
    """Return what stops new work of the organisation; None if nothing does."""
    stop = stop_in_force()
    return Stopped(stop, actor.can("invoices.view")) if stop else None


def devices(currency: str, meter: str = METER) -> list[DeviceOffer]:
    """Return the device classes of the pool with their price per second for this meter, in two queries."""
    prices = prices_in_force(meter)
    return [
        DeviceOffer(
            name=row.device_class,
            title="CPU" if row.device_class == "cpu" else row.device_class,
            hourly=_money(_price(prices, device_class=row.device_class, tier=ON_DEMAND), currency, HOUR),
            spot=_money(_price(prices, device_class=row.device_class, tier=SPOT), currency, HOUR),
            free=row.free,
            total=row.total,
            shares=row.shares,
        )
        for row in work.device_classes()
    ]


def quote_of(actor: Actor, order: JobRequest, estimate: Estimate, *, ending: str) -> Shown:
    """Return the cost panel for a checked request; `ending` is how a job ends that reaches its own limit."""
    limits = work.limits_for(order, quotas.person_of(actor))
    refusals: list[Sentence] = []
    if not estimate.fits and estimate.budget is not None:
        cheaper = alternatives.suggest(order, estimate.budget.left.amount)
        advice = fitting(cheaper) or " ".join(without_alternatives(estimate.budget))
        stands = budget_sentence(estimate.budget)
        text = f"Does not fit the budget: up to {{}} is needed. {stands.text} {advice}"
        refusals.append(Sentence(text, (estimate.worst, *stands.parts)))
    refusals += [Sentence("{}", (one.sentence,)) for one in limits if not one.fits and not one.waits]
    waits = [Sentence("{}", (one.sentence,)) for one in limits if not one.fits and one.waits]
    least_s, most_s = order.typical_range()
    wait = work.expected_wait_s(order.device_class)
    return Shown(
        least=estimate.cost_of(least_s),
        most=estimate.cost_of(most_s),
        least_s=estimate.paid(least_s),
        most_s=estimate.paid(most_s),
        start=estimate.cost_of(Decimal(round(order.forecast.start_s, 3))),
        start_s=max(1, round(order.forecast.start_s)),
        learnt=learnt_from(order),
        worst=estimate.worst,
        rate=Money(estimate.second_amount, estimate.currency),
        limit_s=estimate.billable_limit_s,
        budget_left=estimate.budget_left_after,
        budget=estimate.budget,
        waiting="no wait"
        if wait == 0
        else "until others end"
        if wait is None
        else f"about {wait / 60:.0f} min"
        if wait >= 60
        else "under a minute",
        limits=limits,
        refusals=refusals,
        warnings=[*waits, *warnings_of(order, estimate.second_amount, estimate.currency, ending)],
        spot=work.beside_on_demand(order, estimate),
    )


def learnt_from(order: JobRequest) -> str:
    """Return which runs a range is based on, and how accurate earlier ranges were."""
    found, kept = order.forecast, order.kept
    if found.source == "own":
        said = (
            f"Estimated from the last {found.runs} similar runs."
            if found.runs > 1
            else "Estimated from one similar run."
        )
    elif found.source == "installation":
        said = "Estimated from similar runs of all organisations."
    else:
        return "No similar run has finished yet, so the range is wide."
    return f"{said} {kept.within} of the last {kept.of} stayed within their range." if kept.of else said


def warnings_of(
    order: JobRequest, second_amount: Decimal, currency: str, ending: str = "with a checkpoint and no model"
) -> list[Sentence]:
    """Return which of the job's own limits would stop a typical run early."""
    needed = Money(order.typical_s * second_amount, currency)
    found = []
    if order.needed_s >= order.max_seconds:
        found.append(
            Sentence(
                f"Typically this needs {{}} to {{}}, and may run {{}}: the limit will probably stop it, {ending}. "
                "Set a longer time limit, or reduce the work.",
                (*order.needed_range(), order.max_seconds),
            )
        )
    if order.max_cost is not None and order.max_cost < needed.amount:
        found.append(
            Sentence(
                f"Typically this costs {{}}, more than the {{}} it may cost. It would stop {ending}.",
                (needed, Money(order.max_cost, currency)),
            )
        )
    return found


def fitting(cheaper: Sequence[dict[str, Any]]) -> str:
    """Return what fits into a budget, in the units of the form: whole minutes. Empty if nothing fits."""
    changes = [way["change"] for way in cheaper]
    said = [f"a time limit of {one['max_seconds'] // 60:,} min" for one in changes if "max_seconds" in one]
    said += ["spot, which may be stopped" for one in changes if one.get("tier") == SPOT]
    return f"This would fit: {'; or '.join(said)}." if said else ""


def refusal_of(refused: ExchequerError, currency: str) -> Refusal:
    """Return a refusal in words, with cheaper alternatives."""
    if refused.code == "budget_exceeded":
        asked, status = _of(refused.extra.get("asked"), currency), _budget_of(refused)
        if asked is None or status is None:
            return Refusal("The budget has no headroom for this.", Sentence(refused.message), [RAISE])
        stands = budget_sentence(status)
        text = Sentence(f"The job may cost up to {{}}. {stands.text} Nothing was charged.", (asked, *stands.parts))
        would = fitting(refused.extra.get("ways", []))
        steps = [would, LOWER, "Choose a cheaper device.", RAISE] if would else without_alternatives(status)
        return Refusal("The budget has no headroom for this.", text, steps, status)
    if refused.code == "quota_exceeded":
        text = Sentence("{} Nothing was charged.", (refused.message,))
        steps = ["Set a shorter time limit.", "Ask an admin to raise the quota."]
        whose = InProject(scopes.parse(refused.extra["scope"]).project_id) if "scope" in refused.extra else None
        return Refusal("The quota is used up.", text, steps, quota_of=whose)
    if refused.code == "launches_stopped":
        return Refusal("An invoice is overdue.", Sentence("{} Nothing was charged.", (refused.message,)), [])
    return Refusal("Not launched.", Sentence(refused.message), [])


def without_alternatives(status: BudgetStatus) -> list[str]:
    """Return what helps if no shorter or cheaper run fits: released holds, or a higher budget."""
    wait = ["No shorter limit fits."]
    if status.held:
        wait.append("Wait for running jobs to end: the unused part of their hold is released.")
    return [*wait, RAISE]


def budget_sentence(status: BudgetStatus) -> Sentence:
    """Return the name of a budget with its headroom."""
    whose = f"project {status.project_name}" if status.project_id else status.project_name or "the organisation"
    if status.left:
        return Sentence("The budget of {} has {} that is neither spent nor held.", (whose, status.left))
    if status.free:
        return Sentence(
            "The budget of {}, {} a {}, is used up and {} over.", (whose, status.limit, status.length, -status.free)
        )
    return Sentence("The budget of {}, {} a {}, is used up.", (whose, status.limit, status.length))


def _budget_of(refused: ExchequerError) -> BudgetStatus | None:
    try:
        return budget(UUID(str(refused.extra.get("budget"))))
    except (NotFound, ValueError):
        return None


def _price(prices: Sequence[PriceView], **dims: str) -> Decimal | None:
    """Return the most specific price among these dimensions, as rating does."""
    fitting = [price for price in prices if all(dims.get(name) == value for name, value in price.dims.items())]
    best = min(fitting, key=lambda price: (-len(price.dims), sorted(price.dims.items())), default=None)
    return best.unit_amount if best else None


def _money(amount: Decimal | None, currency: str, times: int = 1) -> Money | None:
    return None if amount is None else Money(amount, currency) * times


def _of(value: Any, currency: str) -> Money | None:
    if value is None or isinstance(value, Money):
        return value
    if isinstance(value, dict):
        return Money(Decimal(str(value["amount"])), str(value["currency"]))
    return Money(Decimal(str(value)), currency)
