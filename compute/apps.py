"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Tell billing what jobs are called and which names are theirs, operators how many there are, quotas of devices, and what goes on when a member leaves."""
        from billing import resource_names
        from billing.usage import reserved_sources
        from compute import queries
        from compute.allocations import slot_billing
        from compute.jobs import departures, visibility
        from compute.queries import capacity
        from tenants import quotas
        from tenants.audit import differences, withheld
        from tenants.identity import departures as leavers
        from tenants.operators import tenant_metrics

        leavers.register(departures.Jobs())
        tenant_metrics.register(queries.digest)
        quotas.register(capacity.limited)
        resource_names.register(queries.job_names, page="job")
        differences.register(queries.job_names)
        withheld.register("job", visibility.seen_jobs)
        withheld.register("attempt", visibility.seen_attempts)
        reserved_sources.reserve(source="compute", prefixes=("job", "attempt"))
        reserved_sources.reserve(source=slot_billing.SOURCE, prefixes=("slot",))
