"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Tell billing what jobs are called and which names are theirs, operators how many there are, quotas of devices, and what goes on when a member leaves."""
        from billing import naming, reserved
        from compute import leaving, pool, queries, slot_seconds, visibility
        from tenants import leaving as leavers
        from tenants import quotas
        from tenants.audit import differences, withheld
        from tenants.operators import digests

        leavers.register(leaving.Jobs())
        digests.register(queries.digest)
        quotas.register(pool.limited)
        naming.register(queries.job_names, page="job")
        differences.register(queries.job_names)
        withheld.register("job", visibility.seen_jobs)
        withheld.register("attempt", visibility.seen_attempts)
        reserved.reserve(source="compute", prefixes=("job", "attempt"))
        reserved.reserve(source=slot_seconds.SOURCE, prefixes=("slot",))
