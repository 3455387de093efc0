"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Tell billing what jobs are called and which names are theirs, operators how many there are, quotas of devices, and what goes on when a member leaves."""
        from billing import naming, reserved
        from compute import leaving, pool, queries
        from tenants import leaving as leavers
        from tenants import quotas
        from tenants.operators import digests

        leavers.register(leaving.Jobs())
        digests.register(queries.digest)
        quotas.register(pool.limited)
        naming.register(queries.job_names, page="job")
        reserved.reserve(source="compute", prefixes=("job", "attempt"))
