"""API operations of the compute app, and all their routes."""

from django.urls import URLPattern, path

from compute.api.idle import IdleJobs, JobSnooze, JobUse
from compute.api.idle_rules import IdleRuleView
from compute.api.job_sets import JobSet, JobSetCancel, JobSetJobs, JobSetRetry, JobSets
from compute.api.jobs import (
    Devices,
    Job,
    JobCancel,
    JobClone,
    JobLogs,
    JobMetrics,
    JobPause,
    JobResume,
    Jobs,
    Quotes,
    UtilisationView,
)
from compute.api.simulation import QuotaSimulations
from tenants.api import shares

__all__ = ["urlpatterns"]

JobShares, JobShare = shares.views_of("job", "jobs.launch")

urlpatterns: list[URLPattern] = [
    path("quotes/", Quotes.as_view(), name="api-quotes"),
    path("jobs/", Jobs.as_view(), name="api-jobs"),
    path("jobs/<uuid:job_id>/", Job.as_view(), name="api-job"),
    path("jobs/<uuid:job_id>/cancel/", JobCancel.as_view(), name="api-job-cancel"),
    path("jobs/<uuid:job_id>/pause/", JobPause.as_view(), name="api-job-pause"),
    path("jobs/<uuid:job_id>/use/", JobUse.as_view(), name="api-job-use"),
    path("jobs/<uuid:job_id>/snooze/", JobSnooze.as_view(), name="api-job-snooze"),
    path("jobs/<uuid:job_id>/resume/", JobResume.as_view(), name="api-job-resume"),
    path("jobs/<uuid:job_id>/clone/", JobClone.as_view(), name="api-job-clone"),
    path("jobs/<uuid:job_id>/logs/", JobLogs.as_view(), name="api-job-logs"),
    path("jobs/<uuid:job_id>/metrics/", JobMetrics.as_view(), name="api-job-metrics"),
    path("jobs/<uuid:job_id>/shares/", JobShares.as_view(), name="api-job-shares"),
    path("jobs/<uuid:job_id>/shares/<uuid:holder_id>/", JobShare.as_view(), name="api-job-share"),
    path("idle/", IdleJobs.as_view(), name="api-idle"),
    path("idle/rule/", IdleRuleView.as_view(), name="api-idle-rule"),
    path("job-sets/", JobSets.as_view(), name="api-job-sets"),
    path("job-sets/<uuid:job_set_id>/", JobSet.as_view(), name="api-job-set"),
    path("job-sets/<uuid:job_set_id>/jobs/", JobSetJobs.as_view(), name="api-job-set-jobs"),
    path("job-sets/<uuid:job_set_id>/cancel/", JobSetCancel.as_view(), name="api-job-set-cancel"),
    path("job-sets/<uuid:job_set_id>/retry-failed/", JobSetRetry.as_view(), name="api-job-set-retry"),
    path("devices/", Devices.as_view(), name="api-devices"),
    path("quotas/simulation/", QuotaSimulations.as_view(), name="api-quota-simulation"),
    path("utilisation/", UtilisationView.as_view(), name="api-utilisation"),
]
