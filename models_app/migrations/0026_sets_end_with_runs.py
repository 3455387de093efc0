"""The job set of a pipeline's run ended with it."""

from django.db import migrations

TABLES = ("compute_jobset", "models_app_pipelinerun")
OPEN, CLOSE = (
    "".join(f"ALTER TABLE {table} {word} ROW LEVEL SECURITY;" for table in TABLES) for word in ("NO FORCE", "FORCE")
)
BACKFILL = f"""
{OPEN}
UPDATE compute_jobset s SET ended_at = r.ended_at FROM models_app_pipelinerun r
  WHERE r.tenant_id = s.tenant_id AND r.set_id = s.id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
{CLOSE}
"""  # noqa: S608 (constants)


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0046_job_sets_end"),
        ("models_app", "0025_runs_are_job_sets"),
    ]

    operations = [migrations.RunSQL(BACKFILL, migrations.RunSQL.noop)]
