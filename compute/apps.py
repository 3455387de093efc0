"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Tell billing what jobs are called and which names are theirs, operators how many there are, quotas of devices."""
        from billing import naming, reserved
        from compute import pool, queries
        from tenants import quotas
        from tenants.operators import digests

        digests.register(queries.digest)
        quotas.register(pool.limited)
        naming.register(queries.job_names, page="job")
        reserved.reserve(source="compute", prefixes=("job", "attempt"))
