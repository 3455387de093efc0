"""Wallets with blocks of credit, what moves them, and top-ups."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from billing.migrations import _wallets as sql
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0018_payments_are_collected"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.CreateModel(
            name="CreditBlock",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("currency", models.CharField(max_length=3)),
                ("kind", models.CharField(choices=[("promotional", "promotional"), ("paid", "paid")], max_length=11)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("grant", "grant"),
                            ("top_up", "top_up"),
                            ("credit_note", "credit_note"),
                            ("carried", "carried"),
                        ],
                        max_length=11,
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("remaining", models.DecimalField(decimal_places=12, max_digits=38)),
                ("priority", models.PositiveSmallIntegerField(db_default=50, default=50)),
                ("starts_on", models.DateField()),
                ("expires_on", models.DateField(null=True)),
                ("meters", models.JSONField(db_default=[], default=list)),
                ("projects", models.JSONField(db_default=[], default=list)),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=400)),
                ("made_by", models.CharField(max_length=254)),
                ("made_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("warned_at", models.DateTimeField(null=True)),
                (
                    "invoice",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.invoice",
                    ),
                ),
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
            },
        ),
        migrations.CreateModel(
            name="CreditMovement",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("used", "used"),
                            ("returned", "returned"),
                            ("expired", "expired"),
                            ("withdrawn", "withdrawn"),
                        ],
                        max_length=9,
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("before_tax", models.BooleanField(db_default=False, default=False)),
                ("moved_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                (
                    "block",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="movements",
                        to="billing.creditblock",
                    ),
                ),
                (
                    "invoice",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.invoice",
                    ),
                ),
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
            },
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("currency", models.CharField(max_length=3)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("automatic", models.BooleanField(db_default=False, default=False)),
                ("asked_by_id", models.UUIDField(null=True)),
                ("asked_by", models.CharField(max_length=254)),
                ("asked_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "invoice",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.invoice",
                    ),
                ),
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
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("currency", models.CharField(max_length=3)),
                ("counted", models.BooleanField(db_default=False, default=False)),
                ("held", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
                ("spent", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=38)),
                ("top_up_below", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("top_up_amount", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("top_up_most", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
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
            },
        ),
        migrations.AddIndex(
            model_name="creditblock",
            index=models.Index(
                condition=models.Q(("remaining__gt", 0)), fields=["tenant", "currency"], name="credit_open"
            ),
        ),
        migrations.AddIndex(
            model_name="creditblock",
            index=models.Index(fields=["tenant", "-id"], name="credit_newest"),
        ),
        migrations.AddConstraint(
            model_name="creditblock",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0), ("remaining__gte", 0), ("remaining__lte", models.F("amount"))),
                name="credit_left",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditblock",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "promotional"), models.Q(("expires_on__isnull", True), ("kind", "paid")), _connector="OR"
                ),
                name="credit_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditblock",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["grant", "top_up", "credit_note", "carried"])),
                name="credit_source_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditblock",
            constraint=models.CheckConstraint(condition=models.Q(("priority__lte", 100)), name="credit_priority_known"),
        ),
        migrations.AddConstraint(
            model_name="creditblock",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_on__isnull", True), ("expires_on__gt", models.F("starts_on")), _connector="OR"
                ),
                name="credit_expires_later",
            ),
        ),
        migrations.AddIndex(
            model_name="creditmovement",
            index=models.Index(
                condition=models.Q(("invoice__isnull", False)), fields=["tenant", "invoice"], name="credit_of_invoice"
            ),
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gt", 0),
                    models.Q(
                        models.Q(("invoice__isnull", False), ("kind__in", ["used", "returned"])),
                        models.Q(("invoice__isnull", True), ("kind__in", ["expired", "withdrawn"])),
                        _connector="OR",
                    ),
                ),
                name="credit_moves",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.UniqueConstraint(fields=("tenant", "block", "invoice", "kind"), name="credit_used_once"),
        ),
        migrations.AddIndex(
            model_name="topup",
            index=models.Index(fields=["tenant", "-id"], name="top_up_newest"),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="top_up_is_real"),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.UniqueConstraint(
                condition=models.Q(("automatic", True), ("closed_at__isnull", True)),
                fields=("tenant", "currency"),
                name="top_up_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.UniqueConstraint(
                condition=models.Q(("invoice__isnull", False)), fields=("tenant", "invoice"), name="top_up_of_invoice"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.UniqueConstraint(fields=("tenant", "currency"), name="wallet_once"),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("top_up_amount__isnull", True), ("top_up_below__isnull", True), ("top_up_most__isnull", True)
                    ),
                    models.Q(
                        ("top_up_amount__gt", 0),
                        ("top_up_below__gte", 0),
                        ("top_up_most__gte", models.F("top_up_amount")),
                    ),
                    _connector="OR",
                ),
                name="wallet_tops_up_whole",
            ),
        ),
        SecureTable(
            "Wallet",
            app="SELECT, INSERT, UPDATE",
            control_grants="SELECT, INSERT, UPDATE",
            operator="SELECT, INSERT, UPDATE",
        ),
        SecureTable(
            "CreditBlock",
            app="SELECT",
            control_grants="SELECT, INSERT, UPDATE (remaining, warned_at)",
            operator="SELECT, INSERT, UPDATE (remaining)",
        ),
        SecureTable("CreditMovement", app="SELECT", control_grants="SELECT, INSERT", operator="SELECT, INSERT"),
        SecureTable(
            "TopUp",
            app="SELECT, INSERT",
            control_grants="SELECT, INSERT, UPDATE (invoice_id, closed_at)",
            operator="SELECT, UPDATE (closed_at)",
        ),
        migrations.RunSQL(sql.guards(), migrations.RunSQL.noop),
    ]
