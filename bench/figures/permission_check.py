"""G-c2: may this person read this job? From nothing, as at each request, and again inside one request."""

from __future__ import annotations

from collections.abc import Iterator

from bench.permission_rows import calls_a_second, filled
from bench.rows import Options, Row, figure, interleaved

ONE_BY_ONE, IN_A_ROW = 60, 20_000


@figure("G-c2")
def permission_check(options: Options) -> Iterator[Row]:
    """Measure checks a second: as shipped, with the statement that enters, and by guardian's checker of a fresh user.

    The product keeps nothing between requests, so a withdrawal takes effect with the next request of every process.
    """
    from django.db import connection
    from django.http import HttpRequest
    from guardian.core import ObjectPermissionChecker

    from compute.models import Job
    from tenants.identity import authentication
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import User

    world = filled(options)
    request, user = HttpRequest(), User.objects.get(id=world.of_one)
    with tenant_scope(world.tenant):
        job = Job.objects.order_by("-id").first()

    def shipped() -> bool:
        with authentication.entering_as_member(request, user, world.tenant) as entered:
            return entered is not None and entered[0].can("jobs.view", job)

    def guardian() -> bool:
        fresh = User.objects.get(id=world.of_one)
        return bool(ObjectPermissionChecker(fresh).has_perm("view_job", job))

    with authentication.entering_as_member(request, user, world.tenant) as entered:
        assert entered is not None
        actor = entered[0]
    checks = {"shipped": shipped, "guardian": guardian, "shipped again": lambda: actor.can("jobs.view", job)}
    if not all(check() for check in checks.values()):
        raise AssertionError("a check says no")
    calls = {"shipped again": IN_A_ROW}
    found = interleaved(
        options.rounds,
        {name: calls_a_second(options, check, calls.get(name, ONE_BY_ONE)) for name, check in checks.items()},
    )
    connection.close()
    absolute = {f"{name} checks/s": value for name, value in found.items()}
    against = "guardian's checker, a fresh user"
    yield Row("G-c2", "may I, with entering", found["shipped"] / found["guardian"], 10.0, against, absolute)
    yield Row("G-c2", "may I, again in a request", found["shipped again"] / found["guardian"], 1000.0, against)
