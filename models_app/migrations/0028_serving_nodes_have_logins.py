"""Serving nodes log in as themselves, and see a tenant only while they serve an endpoint of it."""

from django.db import migrations, models
from django.db.models import Func

from models_app.migrations import _serving


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0050_devices_cost"),
        ("compute", "0046_job_sets_end"),
        ("models_app", "0027_pipelines_are_removed"),
        ("tenants", "0051_quotas_count_parts"),
    ]

    operations = [
        migrations.AddField(
            "servingslice",
            "node_id",
            models.UUIDField(
                db_default=Func(function="exchequer_node", output_field=models.UUIDField()), editable=False, null=True
            ),
        ),
        migrations.AddIndex(
            "servingslice", models.Index(fields=["tenant", "node_id", "opened_at"], name="models_app_slice_of_node")
        ),
        *(migrations.RunSQL(sql) for sql in _serving.SQL),
    ]
