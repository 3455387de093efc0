import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import tenants.ids
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0020_webhooks"),
    ]

    operations = [
        migrations.AddField(
            model_name="notification",
            name="bell",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.CreateModel(
            name="NotificationChoice",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("topic", models.CharField(max_length=60)),
                ("bell", models.BooleanField()),
                ("email", models.BooleanField()),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "user", "topic"), name="notification_choice_once")
                ],
            },
        ),
        SecureTable("NotificationChoice", control_grants="SELECT"),
    ]
