"""When all jobs of a set had ended."""

from django.db import migrations, models

TABLES = ("compute_jobset", "compute_job")
OPEN, CLOSE = (
    "".join(f"ALTER TABLE {table} {word} ROW LEVEL SECURITY;" for table in TABLES) for word in ("NO FORCE", "FORCE")
)
# A pipeline's set ends with its run: `models_app` fills it in.
BACKFILL = f"""
{OPEN}
UPDATE compute_jobset s SET ended_at = j.ended_at
  FROM (SELECT tenant_id, set_id, max(ended_at) AS ended_at FROM compute_job WHERE set_id IS NOT NULL
        GROUP BY tenant_id, set_id HAVING count(*) = count(ended_at)) j
  WHERE s.kind = 'array' AND j.tenant_id = s.tenant_id AND j.set_id = s.id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
{CLOSE}
GRANT SELECT (ended_at) ON compute_jobset TO exchequer_glass;
"""  # noqa: S608 (constants)


class Migration(migrations.Migration):
    dependencies = [("compute", "0045_use_may_be_unknown")]

    operations = [
        migrations.AddField(model_name="jobset", name="ended_at", field=models.DateTimeField(null=True)),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
    ]
