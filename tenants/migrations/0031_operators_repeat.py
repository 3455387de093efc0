from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0030_operators_answer"),
    ]

    operations = [
        migrations.CreateModel(
            name="OperatorIdempotencyKey",
            fields=[
                ("key", models.CharField(max_length=200)),
                ("request_hash", models.BinaryField()),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("body", models.JSONField(null=True)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("asker", models.UUIDField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("asker", "key"), name="operator_idempotency_key_once")],
            },
        ),
        rls.GrantTable("OperatorIdempotencyKey", control="SELECT, DELETE", operator="SELECT, INSERT, UPDATE"),
    ]
