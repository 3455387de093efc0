"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"

    def ready(self) -> None:
        """Register jobs with the lower apps: names for billing and the audit log, figures, quotas, departures and navigation."""
        from billing import resource_names
        from billing.usage import owners, reserved_sources
        from compute import queries, subscribers
        from compute.allocations import slot_billing
        from compute.cluster import idle_work
        from compute.fleet import silence as fleet_silence
        from compute.jobs import departures, visibility
        from compute.queries import attention as silence
        from compute.queries import capacity, quota_work, sets
        from compute.queries.owners import people_of
        from tenants import quotas
        from tenants.audit import differences, erasure, withheld, words
        from tenants.identity import departures as leavers
        from tenants.notifications import topics
        from tenants.operators import attention, tenant_metrics
        from tenants.operators.platform_events import conditions
        from tenants.projects import figures
        from tenants.sharing import shares
        from tenants.web import navigation
        from tenants.web.navigation import MAIN, NavigationEntry

        erasure.keep("compute_joblog", "compute_jobmetric")
        leavers.register(departures.Jobs())
        attention.register("fleet.view", silence.silent)
        attention.register("fleet.view", idle_work.idle_matter)
        attention.register_count(idle_work.PAGE, idle_work.idle_number)
        attention.register_tile("fleet.view", silence.utilised)
        conditions.register(fleet_silence.look)
        tenant_metrics.register(queries.digest, "running_jobs", "queued_jobs")
        figures.register(queries.project_figures, order=20)
        quotas.register(capacity.limited)
        shares.register(visibility.SHARED)
        quotas.register_work(quota_work.Jobs())
        resource_names.register(queries.job_names, page="job")
        owners.register("person", resource_names.JOB, people_of)
        resource_names.withhold(resource_names.JOB, visibility.hidden_jobs)
        differences.register(visibility.names)
        withheld.register("job", visibility.seen_jobs)
        withheld.register("job_set", sets.seen_sets)
        withheld.register("attempt", visibility.seen_attempts)
        reserved_sources.reserve(source="compute", prefixes=("job", "attempt"))
        reserved_sources.reserve(source=slot_billing.SOURCE, prefixes=("slot",))
        topics.register("jobs", "Your jobs that succeed or fail", *subscribers.NOTIFIED.values(), default=topics.OFF)
        topics.register("idle", "Your jobs whose devices do nothing", "job_idle")
        words.register(
            {
                "compute.attempt.idle_cleared": "Idle devices work again",
                "compute.attempt.idle_stopped": "Idle attempt asked to stop",
                "compute.attempt.idle_warned": "Devices found idle",
                "compute.idle_rule.set": "Idle rule set",
                "compute.job.idle_snoozed": "Stop of an idle job snoozed",
                "compute.pool_idle_rule.removed": "Idle rule of a class of device removed",
                "compute.pool_idle_rule.set": "Idle rule of a class of device set",
                "compute.attempt.yields": "Attempt asked to give way",
                "compute.device.faulty": "Device cordoned for a fault",
                "compute.job.admitted": "Kept launch answered",
                "compute.job_set.launched": "Job set launched",
                "compute.job_set.cancelled": "Job set cancelled",
                "compute.job_set.retried": "Failed jobs of a set launched again",
                "compute.slot.unpaid": "Serving slot released: budget exhausted",
            },
            nouns={"slot": "serving slot", "job_set": "job set", "idle_rule": "idle rule"},
            fields={"max_cost": "cost limit", "max_seconds": "time limit (s)"},
        )
        navigation.register(MAIN, NavigationEntry("Jobs", "list-check", "jobs", "jobs.view", "j", order=20))
