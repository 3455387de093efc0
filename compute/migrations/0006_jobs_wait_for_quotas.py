"""A limit at once is counted from the assignment to the end of an attempt; the device time of a month from the launch.

So what waits gives its devices back, and all that is unfinished reserves the rest of its time in the running month.
"""

from django.db import migrations, models

from tenants.migrations._quotas import counted_again

PEOPLE = """
UPDATE compute_job j SET person = coalesce(
    (SELECT m.user_id FROM tenants_membership m WHERE m.tenant_id = j.tenant_id AND m.user_id = j.submitted_by),
    (SELECT m.user_id FROM tenants_apikey k JOIN tenants_membership m ON m.id = k.membership_id
     WHERE k.tenant_id = j.tenant_id AND k.id = j.submitted_by))
WHERE j.state NOT IN ('succeeded', 'failed', 'cancelled')
"""
WAITING = """
DELETE FROM tenants_quotareservation r USING compute_job j
WHERE r.tenant_id = j.tenant_id AND r.subject = 'job:' || j.id AND NOT EXISTS (
    SELECT FROM compute_attempt a WHERE a.tenant_id = j.tenant_id AND a.job_id = j.id AND a.state <> 'ended')
"""
JOBS = """
UPDATE tenants_quotareservation r SET project_id = j.project_id, person = j.person
FROM compute_job j WHERE r.tenant_id = j.tenant_id AND r.subject = 'job:' || j.id
"""
SLOTS = """
UPDATE tenants_quotareservation r SET project_id = a.project_id, person = (
    SELECT m.user_id FROM tenants_membership m WHERE m.tenant_id = a.tenant_id AND m.user_id = a.requested_by)
FROM compute_allocation a WHERE r.tenant_id = a.tenant_id AND r.subject = a.subject AND a.state <> 'ended'
"""
# Ten seconds are the grace of a stop, which a job may run beyond its limit.
DEVICE_TIME = """
INSERT INTO tenants_quotareservation (id, tenant_id, resource, period, month, subject, project_id, person, amount)
SELECT gen_random_uuid(), j.tenant_id, 'device_hours:' || j.device_class, 'month',
       date_trunc('month', exchequer_now() AT TIME ZONE t.timezone)::date, 'job:' || j.id, j.project_id, j.person,
       greatest(1, j.max_seconds + 10 - ceil(j.measured_s))
FROM compute_job j JOIN tenants_tenant t ON t.id = j.tenant_id WHERE j.state IN ('queued', 'running')
"""
READING = ("compute_job", "compute_attempt", "compute_allocation")


class Migration(migrations.Migration):
    dependencies = [("compute", "0005_retention"), ("tenants", "0012_quotas_have_scopes")]

    operations = [
        migrations.AddField("job", "person", models.UUIDField(null=True)),
        migrations.RunSQL(
            [
                (statement, None)
                for statement in counted_again(
                    prefix="device", given=[PEOPLE, WAITING, JOBS, SLOTS, DEVICE_TIME], reading=READING
                )
            ],
            migrations.RunSQL.noop,
        ),
    ]
