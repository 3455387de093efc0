"""Who reports usage from outside, what waits for a person, limits of senders, and budgets of tags."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_retention"),
        ("tenants", "0004_theme_follows_the_system"),
    ]

    operations = [
        migrations.CreateModel(
            name="HeldEvent",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("key_hash", models.BinaryField()),
                ("source", models.CharField(max_length=120)),
                ("key", models.CharField(max_length=200)),
                ("meter", models.CharField(max_length=60)),
                ("resource", models.CharField(max_length=200)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("quantity", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("dims", models.JSONField(default=dict)),
                ("reason", models.CharField(max_length=13)),
                ("state", models.CharField(default="waiting", max_length=8)),
                ("received_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("decided_at", models.DateTimeField(null=True)),
                ("decided_by_id", models.UUIDField(null=True)),
                ("decided_by", models.CharField(blank=True, max_length=254)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ReportLimit",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("events", models.PositiveIntegerField()),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="SenderDay",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("sender_id", models.UUIDField()),
                ("day", models.DateField()),
                ("events", models.BigIntegerField()),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="UsageBatch",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("sender_kind", models.CharField(max_length=10)),
                ("sender_id", models.UUIDField(null=True)),
                ("sender", models.CharField(max_length=254)),
                ("received_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("accepted", models.PositiveIntegerField()),
                ("held", models.PositiveIntegerField()),
                ("voided", models.PositiveIntegerField(default=0)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.RemoveConstraint(
            model_name="budget",
            name="budget_once_per_scope",
        ),
        migrations.AddField(
            model_name="budget",
            name="tag_key",
            field=models.CharField(blank=True, db_default="", default="", max_length=60),
        ),
        migrations.AddField(
            model_name="budget",
            name="tag_value",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="hold",
            name="tags",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="ledgertransaction",
            name="batch_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="batch_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="usagekey",
            name="batch_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="kind",
            field=models.CharField(
                choices=[("usage", "Usage"), ("waiver", "Waiver"), ("void", "Void")], default="usage", max_length=6
            ),
        ),
        migrations.AddIndex(
            model_name="ledgertransaction",
            index=models.Index(
                condition=models.Q(("batch_id__isnull", False)), fields=["tenant", "batch_id"], name="ledger_batch"
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.UniqueConstraint(
                condition=models.Q(("closed_at__isnull", True)),
                fields=("tenant", "project", "tag_key", "tag_value", "currency"),
                name="budget_once_per_scope",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("project__isnull", True), ("tag_key", ""), _connector="OR"),
                name="budget_has_one_scope",
            ),
        ),
        migrations.AddField(
            model_name="heldevent",
            name="project",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.project",
            ),
        ),
        migrations.AddField(
            model_name="heldevent",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="reportlimit",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="senderday",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="usagebatch",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="heldevent",
            name="batch",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.usagebatch",
            ),
        ),
        migrations.AddConstraint(
            model_name="reportlimit",
            constraint=models.UniqueConstraint(fields=("tenant",), name="report_limit_once"),
        ),
        migrations.AddConstraint(
            model_name="reportlimit",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0), ("amount__lt", 1000000000000000)), name="report_limit_is_real"
            ),
        ),
        migrations.AddConstraint(
            model_name="senderday",
            constraint=models.UniqueConstraint(fields=("tenant", "sender_id", "day"), name="sender_day_once"),
        ),
        migrations.AddIndex(
            model_name="usagebatch",
            index=models.Index(fields=["tenant", "-id"], name="usage_batch_newest"),
        ),
        migrations.AddIndex(
            model_name="heldevent",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["tenant", "id"], name="held_event_waiting"
            ),
        ),
        migrations.AddIndex(
            model_name="heldevent",
            index=models.Index(fields=["tenant", "batch"], name="held_event_batch"),
        ),
        migrations.AddConstraint(
            model_name="heldevent",
            constraint=models.UniqueConstraint(fields=("tenant", "key_hash"), name="held_event_once"),
        ),
        migrations.AddConstraint(
            model_name="heldevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "accepted", "rejected"])), name="held_event_state_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="heldevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason__in", ["old", "before_prices", "unpriced"])), name="held_event_reason_known"
            ),
        ),
    ]
