import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls

# To seal, the console needs the public half alone.
PUBLIC = "GRANT SELECT (id, current, public) ON tenants_platformkey TO exchequer_operator;"


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0031_operators_repeat"),
    ]

    operations = [
        migrations.CreateModel(
            name="PlatformEvent",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("type", models.CharField(max_length=40)),
                ("once", models.CharField(max_length=200, unique=True)),
                ("kind", models.CharField(max_length=40)),
                ("object", models.CharField(max_length=64)),
                ("path", models.CharField(max_length=300)),
                ("about", models.UUIDField(null=True)),
                ("data", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("spread_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("spread_at__isnull", True)), fields=["id"], name="platform_event_new"
                    ),
                    models.Index(fields=["created_at"], name="platform_event_age"),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlatformWebhook",
            fields=[
                ("name", models.CharField(max_length=60)),
                ("url", models.BinaryField()),
                ("host", models.CharField(max_length=260)),
                (
                    "types",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), size=None),
                ),
                (
                    "format",
                    models.CharField(
                        choices=[("exchequer", "Exchequer JSON"), ("slack", "Slack message")],
                        default="exchequer",
                        max_length=12,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("disabled_because", models.CharField(blank=True, max_length=200)),
                ("secret", models.BinaryField()),
                ("previous_secret", models.BinaryField(null=True)),
                ("previous_until", models.DateTimeField(null=True)),
                ("created_by", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("failing_since", models.DateTimeField(null=True)),
                ("retry_at", models.DateTimeField(null=True)),
                ("notified_at", models.DateTimeField(null=True)),
                ("last_delivered_at", models.DateTimeField(null=True)),
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("name",), name="platform_webhook_name_once"),
                    models.CheckConstraint(
                        condition=models.Q(("format__in", ["exchequer", "slack"])), name="platform_webhook_format_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OperatorEmailChoice",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("type", models.CharField(max_length=40)),
                ("wanted", models.BooleanField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("user", "type"), name="operator_email_choice_once")],
            },
        ),
        migrations.CreateModel(
            name="OperatorEmail",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                ("sent_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="emails", to="tenants.platformevent"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("sent_at__isnull", True)), fields=["next_at"], name="operator_email_due"
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("event", "user"), name="operator_email_once")],
            },
        ),
        migrations.CreateModel(
            name="PlatformKey",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("current", models.BooleanField(default=True)),
                ("public", models.BinaryField()),
                ("wrapped", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                (
                    "master",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.masterkeyrecord"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("current", True)), fields=("current",), name="platform_key_one_in_use"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PlatformDelivery",
            fields=[
                ("event_id", models.UUIDField()),
                ("type", models.CharField(max_length=40)),
                ("body", models.TextField()),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "waiting"), ("delivered", "delivered"), ("failed", "given up")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("log", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("since", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                ("next_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("forced", models.BooleanField(default=False)),
                (
                    "webhook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="tenants.platformwebhook",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["webhook", "-id"], name="platform_delivery_newest"),
                    models.Index(
                        condition=models.Q(("state", "pending")), fields=["next_at"], name="platform_delivery_due"
                    ),
                    models.Index(fields=["created_at"], name="platform_delivery_age"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("webhook", "event_id"), name="platform_delivery_once"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["pending", "delivered", "failed"])),
                        name="platform_delivery_state_known",
                    ),
                ],
            },
        ),
        rls.GrantTable("PlatformEvent", control=rls.ALL, operator="SELECT, INSERT"),
        rls.GrantTable("PlatformWebhook", control="SELECT, UPDATE", operator=rls.ALL),
        rls.GrantTable("PlatformDelivery", control=rls.ALL, operator=rls.ALL),
        rls.GrantTable("OperatorEmail", control=rls.ALL),
        rls.GrantTable("OperatorEmailChoice", control="SELECT", operator=rls.ALL),
        rls.GrantTable("PlatformKey", control="SELECT, INSERT, UPDATE"),
        migrations.RunSQL(PUBLIC),
    ]
