"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Register job names and reserved sources with billing, tenant metrics, device quotas, and the handling of
        departing members.
        """
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
        resource_names.withhold(resource_names.JOB, visibility.hidden_jobs)
        differences.register(queries.job_names)
        withheld.register("job", visibility.seen_jobs)
        withheld.register("attempt", visibility.seen_attempts)
        reserved_sources.reserve(source="compute", prefixes=("job", "attempt"))
        reserved_sources.reserve(source=slot_billing.SOURCE, prefixes=("slot",))
