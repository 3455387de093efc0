"""Disputes of lines, comments of operators, and days of grace of a contract."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from billing.migrations import _disputes as sql
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0025_usage_by_hour"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.CreateModel(
            name="Dispute",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("line_id", models.UUIDField()),
                ("line_n", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "open"),
                            ("agreed", "agreed"),
                            ("declined", "declined"),
                            ("withdrawn", "withdrawn"),
                        ],
                        db_default="open",
                        default="open",
                        max_length=9,
                    ),
                ),
                ("opened_by", models.CharField(max_length=254)),
                ("opened_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("ended_by", models.CharField(blank=True, db_default="", default="", max_length=254)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="DisputeMessage",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("side", models.CharField(choices=[("tenant", "tenant"), ("seller", "seller")], max_length=6)),
                ("text", models.CharField(max_length=2000)),
                ("written_by", models.CharField(max_length=254)),
                ("written_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="InvoiceComment",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("text", models.CharField(max_length=2000)),
                ("written_by", models.CharField(max_length=254)),
                ("written_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.RemoveConstraint(
            model_name="contract",
            name="contract_terms_are_real",
        ),
        migrations.AddField(
            model_name="contract",
            name="grace_days",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("grace_days__lte", 31),
                    ("payment_days__lte", 365),
                    models.Q(
                        ("tax_rate", None), models.Q(("tax_rate__gte", 0), ("tax_rate__lte", 100)), _connector="OR"
                    ),
                ),
                name="contract_terms_are_real",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="invoice",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="disputes",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="disputemessage",
            name="dispute",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="messages",
                to="billing.dispute",
            ),
        ),
        migrations.AddField(
            model_name="disputemessage",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="invoicecomment",
            name="invoice",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="comments",
                to="billing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="invoicecomment",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["tenant", "invoice"], name="dispute_of_invoice"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                condition=models.Q(("state", "open")), fields=["-opened_at", "id"], name="dispute_waits"
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")), fields=("tenant", "invoice", "line_id"), name="dispute_open_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at", None), ("state", "open")),
                    models.Q(("ended_at__isnull", False), ("state__in", ["agreed", "declined", "withdrawn"])),
                    _connector="OR",
                ),
                name="dispute_state_known",
            ),
        ),
        SecureTable("Dispute", app=f"{sql.ENDING}, INSERT", control_grants="SELECT", operator=sql.ENDING),
        SecureTable("DisputeMessage", app="SELECT, INSERT", control_grants="SELECT", operator="SELECT, INSERT"),
        SecureTable("InvoiceComment", app="", control_grants="SELECT", operator="SELECT, INSERT"),
        migrations.RunSQL(sql.GUARDS, migrations.RunSQL.noop),
    ]
