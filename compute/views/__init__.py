"""Pages of compute: the list of jobs, and one job."""

from django.urls import URLPattern, path

from compute.views.idle import idle, idle_rule
from compute.views.job import job, job_cancel, job_live, job_log_file, job_logs, job_pause, job_resume, job_snooze
from compute.views.jobs import job_row, jobs
from compute.views.sets import job_set, job_set_cancel, job_set_retry, job_sets
from compute.views.simulation import quota_simulation

urlpatterns: list[URLPattern] = [
    path("jobs/", jobs, name="jobs"),
    path("jobs/<uuid:job_id>/", job, name="job"),
    path("jobs/<uuid:job_id>/row/", job_row, name="job-row"),
    path("jobs/<uuid:job_id>/live/", job_live, name="job-live"),
    path("jobs/<uuid:job_id>/logs/", job_logs, name="job-logs"),
    path("jobs/<uuid:job_id>/logs.txt", job_log_file, name="job-log-file"),
    path("jobs/<uuid:job_id>/cancel/", job_cancel, name="job-cancel"),
    path("jobs/<uuid:job_id>/pause/", job_pause, name="job-pause"),
    path("jobs/<uuid:job_id>/snooze/", job_snooze, name="job-snooze"),
    path("jobs/<uuid:job_id>/resume/", job_resume, name="job-resume"),
    path("idle/", idle, name="idle-jobs"),
    path("idle/rule/", idle_rule, name="idle-rule"),
    path("job-sets/", job_sets, name="job-sets"),
    path("job-sets/<uuid:job_set_id>/", job_set, name="job-set"),
    path("job-sets/<uuid:job_set_id>/cancel/", job_set_cancel, name="job-set-cancel"),
    path("job-sets/<uuid:job_set_id>/retry-failed/", job_set_retry, name="job-set-retry"),
    path("quotas/simulation/", quota_simulation, name="quota-simulation"),
]
