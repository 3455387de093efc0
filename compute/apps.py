"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Tell billing what jobs are called and which names are theirs, and operators how many there are."""
        from billing import naming, reserved
        from compute import queries
        from tenants.operators import digests

        digests.register(queries.digest)
        naming.register(queries.job_names, page="job")
        reserved.reserve(source="compute", prefixes=("job", "attempt"))
