"""Jobs launched together under one money cap."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable, composite_key_sql, glass_sql

# The lock first: each launch and each growth of a hold counts what those before it took. A node, which sees its own jobs
# alone, learns the sums and no more.
USED = """
CREATE POLICY lookup_rows ON compute_jobset FOR SELECT TO exchequer_owner USING (true);
CREATE FUNCTION exchequer_job_set_used(of_set uuid, besides uuid)
RETURNS TABLE (name text, cap numeric, cap_currency text, currency text, used numeric)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE own uuid := nullif(current_setting('app.tenant', true), '')::uuid;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('compute.job_set' || of_set, 0));
  RETURN QUERY
    SELECT s.name::text, s.cap, s.currency::text, coalesce(j.currency, s.currency)::text,
           coalesce(sum(j.spent + CASE WHEN j.id <> besides THEN coalesce(h.amount - h.settled, 0) ELSE 0 END), 0)
    FROM compute_jobset s
    LEFT JOIN compute_job j ON j.tenant_id = s.tenant_id AND j.set_id = s.id
    LEFT JOIN billing_hold h ON h.tenant_id = j.tenant_id AND h.id = j.hold_id AND h.state = 'open'
    WHERE s.tenant_id = own AND s.id = of_set
    GROUP BY s.id, s.name, s.cap, s.currency, j.currency;
END $$;
REVOKE ALL ON FUNCTION exchequer_job_set_used(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_job_set_used(uuid, uuid) TO exchequer_app, exchequer_control, exchequer_node;
"""
NOT_USED = "DROP FUNCTION exchequer_job_set_used(uuid, uuid); DROP POLICY lookup_rows ON compute_jobset;"
SHOWN = "id, tenant_id, project_id, kind, name, currency, most_at_once, varied, launched_by, launched_at, cancelled_at"
READ = glass_sql("compute_jobset", columns=SHOWN) + (
    "GRANT SELECT (set_id, set_index) ON compute_job TO exchequer_glass"
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0049_usage_by_day"),
        ("compute", "0026_ranks_meet"),
    ]

    operations = [
        migrations.CreateModel(
            name="JobSet",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(choices=[("array", "Job array"), ("pipeline", "Pipeline run")], max_length=8),
                ),
                ("name", models.CharField(max_length=120)),
                ("cap", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("currency", models.CharField(max_length=3)),
                ("most_at_once", models.PositiveSmallIntegerField(null=True)),
                ("varied", models.JSONField(default=list)),
                ("launched_by", models.UUIDField(null=True)),
                ("launched_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("cancelled_at", models.DateTimeField(null=True)),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["tenant", "-id"], name="compute_jobset_newest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["array", "pipeline"])), name="compute_jobset_kind"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("cap", None), ("cap__gt", 0), _connector="OR"), name="compute_jobset_cap"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("most_at_once", None), ("most_at_once__gt", 0), _connector="OR"),
                        name="compute_jobset_at_once",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="job",
            name="set",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="jobs",
                to="compute.jobset",
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="set_index",
            field=models.PositiveSmallIntegerField(null=True),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("set__isnull", False)),
                fields=["tenant", "set", "set_index"],
                name="compute_job_of_set",
            ),
        ),
        # The policy weighs the jobs of all tenants.
        SecureTable("JobSet", control=True, app="SELECT, INSERT, UPDATE", control_grants="SELECT, UPDATE"),
        migrations.RunSQL(composite_key_sql("compute_job", "set_id", "compute_jobset"), migrations.RunSQL.noop),
        migrations.RunSQL(USED, NOT_USED),
        migrations.RunSQL(READ, migrations.RunSQL.noop),
    ]
