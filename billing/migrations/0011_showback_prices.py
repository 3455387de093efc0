import django.db.models.deletion
from django.db import migrations, models

import tenants.ids
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0010_looks_inside"),
        ("tenants", "0027_break_glass"),
    ]

    operations = [
        migrations.CreateModel(
            name="ShowbackPrice",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("meter", models.CharField(max_length=60)),
                ("dims", models.JSONField(default=dict)),
                ("unit_amount", models.DecimalField(decimal_places=12, max_digits=38)),
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
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "meter", "dims"), name="showback_price_once_per_dims"),
                    models.CheckConstraint(
                        condition=models.Q(("unit_amount__gte", 0), ("unit_amount__lt", 1000000000000)),
                        name="showback_price_is_real",
                    ),
                ],
            },
        ),
        SecureTable("ShowbackPrice", app="SELECT, INSERT, DELETE", control_grants="SELECT"),
    ]
