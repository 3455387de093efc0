"""The cluster's bill of a month in UTC: seconds of devices as they were there, at what they cost, by organisation (console)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

from billing.cluster.costs import Costs, costs_until
from billing.cluster.rules import rule_of
from billing.cluster.split import COLUMNS, GUARANTEED, HOUR_US, Part, Row, Seconds, split
from billing.money import Money
from billing.rating.calendar import next_period
from compute.jobs import job_quotas
from compute.queries.capacity import class_title
from compute.queries.device_hours import hours_of_all
from tenants import quotas
from tenants.clock import now
from tenants.models import Tenant
from tenants.quotas import ORGANISATION

PLATFORM_NAME = "Platform"
#: Of amounts while no cost was entered: all are zero, and none is shown.
NO_CURRENCY = "XXX"
MICROSECONDS = 10**6
HUNDREDTH = Decimal("0.01")


def hours_of(seconds: Seconds) -> dict[str, Decimal]:
    """Return device-hours by column, to the hundredth."""
    whole = {name: getattr(seconds, name) for name in ("capacity", "allocated", *COLUMNS)}
    return {name: (Decimal(us) / HOUR_US).quantize(HUNDREDTH) for name, us in whole.items()}


@dataclass(frozen=True, kw_only=True)
class BillRow:
    """A class and who bears it: an organisation by slug and name, or the platform, whose slug is empty."""

    device_class: str
    slug: str
    name: str
    row: Row

    @property
    def class_title(self) -> str:
        """The class as pages write it."""
        return class_title(self.device_class)

    @property
    def seconds(self) -> dict[str, float]:
        """Device seconds: capacity = allocated + held + free, allocated = used + idle."""
        whole = {name: getattr(self.row.seconds, name) for name in ("capacity", "allocated", *COLUMNS)}
        return {name: microseconds / MICROSECONDS for name, microseconds in whole.items()}

    @property
    def hours(self) -> dict[str, Decimal]:
        """The same in hours, for people."""
        return hours_of(self.row.seconds)


@dataclass(frozen=True, kw_only=True)
class ClusterBill:
    """A month's bill. `columns` are the sums of the rows; they add up to `total`. `without_cost` names classes that had hours without a cost.

    `total` is None while no cost was ever entered, or all are withdrawn. `rule` is the one shown, `rule_in_force` the chosen one.
    """

    month: date
    rule: str
    rule_in_force: str
    total: Money | None
    columns: dict[str, Money]
    seconds: Seconds
    rows: Sequence[BillRow]
    without_cost: Sequence[str]

    @property
    def hours(self) -> dict[str, Decimal]:
        """The sums of all rows in hours, for people."""
        return hours_of(self.seconds)

    @property
    def difference(self) -> Money | None:
        """The bill without what its rows add up to: always zero."""
        if self.total is None:
            return None
        return self.total - sum((one.row.total for one in self.rows), Money.zero(self.total.currency))


def cluster_bill(month: date, rule: str) -> ClusterBill:
    """Return the bill of a month, the running one until now, with what was held and free shared by a rule."""
    start, end = (datetime.combine(day, time(), UTC) for day in (month, next_period(month)))
    costs = costs_until(next_period(month))
    parts = list(_parts(start, min(end, now()), costs)) if start < now() else []
    tenants = {row.id: row for row in Tenant.objects.all()}
    guaranteed = _guaranteed({part.device_class for part in parts}, tenants) if rule == GUARANTEED else {}
    total, rows = split(parts, rule, guaranteed, costs.currency or NO_CURRENCY)
    zero = Money.zero(total.currency)
    return ClusterBill(
        month=month,
        rule=rule,
        rule_in_force=rule_of(month),
        total=total if costs.currency else None,
        columns={name: sum((getattr(row, name) for row in rows), zero) for name in COLUMNS},
        seconds=sum((row.seconds for row in rows), Seconds()),
        rows=[_named(row, tenants) for row in rows],
        without_cost=sorted({class_title(row.device_class) for row in rows if row.without_cost}),
    )


def _parts(start: datetime, end: datetime, costs: Costs) -> Iterator[Part]:
    """Yield what each organisation had in each hour, and what nobody had, so that an hour's parts are its capacity."""
    rows, there = hours_of_all(start, end)
    rest = {(hour, name): _whole(seconds) for hour, name, seconds in there}
    for hour, name, tenant_id, allocated, held, used in rows:
        whole = _whole(allocated)
        busy = min(_whole(used), whole)
        had = Seconds(used=busy, idle=whole - busy, held=_whole(held))
        yield Part(name, tenant_id, costs.of(name, hour.date()), had)
        rest[hour, name] = rest.get((hour, name), 0) - had.capacity
    for (hour, name), free in rest.items():
        if free > 0:
            yield Part(name, None, costs.of(name, hour.date()), Seconds(free=free))


def _whole(seconds: float) -> int:
    """Return microseconds: the moments in the database are no finer."""
    return round(seconds * MICROSECONDS)


def _guaranteed(classes: Collection[str], tenants: Collection[UUID]) -> dict[tuple[str, UUID], int]:
    """Return the devices that are guaranteed to organisations now, by class."""
    resources = {job_quotas.devices(name): name for name in classes}
    return {
        (resources[resource], tenant_id): room.guaranteed
        for (tenant_id, resource, scope), room in quotas.rooms(tenants, resources).items()
        if scope == ORGANISATION and room.guaranteed
    }


def _named(row: Row, tenants: Mapping[UUID, Tenant]) -> BillRow:
    bearer = tenants.get(row.bearer) if row.bearer else None
    name = bearer.name if bearer else PLATFORM_NAME if row.bearer is None else str(row.bearer)
    return BillRow(device_class=row.device_class, slug=bearer.slug if bearer else "", name=name, row=row)
