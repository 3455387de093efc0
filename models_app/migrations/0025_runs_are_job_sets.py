"""The jobs of a pipeline's run are a job set, and its cap is the set's."""

import django.db.models.deletion
from django.db import migrations

import tenants.isolation.scoping
from tenants.isolation.rls import composite_key_sql

READ = ("models_app_pipelinerun", "models_app_pipeline", "models_app_steptry", "compute_jobset", "compute_job")
OPEN, CLOSE = (
    "".join(f"ALTER TABLE {table} {word} ROW LEVEL SECURITY;" for table in READ) for word in ("NO FORCE", "FORCE")
)
# A run before this gets a set with its own id. What its jobs spent, and their holds, count against the cap from here on.
BACKFILL = f"""
{OPEN}
INSERT INTO compute_jobset
  (id, tenant_id, project_id, kind, name, cap, currency, varied, launched_by, launched_at, cancelled_at)
  SELECT r.id, r.tenant_id, r.project_id, 'pipeline', p.name, r.cap, r.currency, '[]', r.launched_by, r.launched_at,
         CASE WHEN r.state = 'cancelled' THEN r.ended_at END
  FROM models_app_pipelinerun r JOIN models_app_pipeline p ON p.tenant_id = r.tenant_id AND p.id = r.pipeline_id;
UPDATE models_app_pipelinerun SET set_id = id;
UPDATE compute_job j SET set_id = t.run_id, set_index = t.place
  FROM (SELECT tenant_id, run_id, job_id, dense_rank() OVER (PARTITION BY run_id ORDER BY step, item) AS place
        FROM models_app_steptry) t
  WHERE t.tenant_id = j.tenant_id AND t.job_id = j.id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
{CLOSE}
"""  # noqa: S608 (constants)
# With the cap gone, nothing of a run is hidden from an operator who looks inside.
READ_WHOLE = (
    "REVOKE SELECT ON models_app_pipelinerun FROM exchequer_glass;"
    "GRANT SELECT ON models_app_pipelinerun TO exchequer_glass;"
)


def _set(**more):
    return tenants.isolation.scoping.TenantForeignKey(
        db_constraint=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="compute.jobset",
        **more,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0027_job_sets"),
        ("models_app", "0024_schedules"),
    ]

    operations = [
        migrations.AddField(model_name="pipelinerun", name="set", field=_set(null=True)),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
        migrations.AlterField(model_name="pipelinerun", name="set", field=_set()),
        migrations.RunSQL(
            composite_key_sql("models_app_pipelinerun", "set_id", "compute_jobset"), migrations.RunSQL.noop
        ),
        # Schedules launch runs by this role.
        migrations.RunSQL("GRANT INSERT ON compute_jobset TO exchequer_control", migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name="pipelinerun", name="models_app_run_cap"),
        migrations.RemoveField(model_name="pipelinerun", name="cap"),
        migrations.RemoveField(model_name="pipelinerun", name="currency"),
        migrations.RunSQL(READ_WHOLE, migrations.RunSQL.noop),
    ]
