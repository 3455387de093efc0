"""The steps that bring invoices to the payment provider and money back, its events, and whether it answers."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from billing.migrations import _collecting as sql
from tenants.isolation.rls import GrantTable, SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0017_tax_rates"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.CreateModel(
            name="GatewayEvent",
            fields=[
                ("id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=30)),
                ("tenant_given", models.CharField(blank=True, default="", max_length=64)),
                ("our_id", models.CharField(blank=True, default="", max_length=120)),
                ("external_id", models.CharField(blank=True, default="", max_length=255)),
                ("payment", models.CharField(blank=True, default="", max_length=255)),
                ("customer", models.CharField(blank=True, default="", max_length=255)),
                ("occurred_at", models.DateTimeField()),
                ("received_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("handled_at", models.DateTimeField(null=True)),
                ("about", models.UUIDField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("handled_at", None)), fields=["received_at"], name="gateway_event_waits"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentCircuit",
            fields=[
                ("only_row", models.BooleanField(default=True, editable=False, primary_key=True, serialize=False)),
                ("failures", models.PositiveIntegerField(db_default=0, default=0)),
                ("open_until", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("only_row", True)), name="payment_circuit_is_one")
                ],
            },
        ),
        migrations.CreateModel(
            name="Collection",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("n", models.PositiveIntegerField()),
                ("object_id", models.UUIDField()),
                ("step", models.CharField(max_length=12)),
                ("attempt", models.PositiveSmallIntegerField(db_default=1, default=1)),
                ("about", models.CharField(blank=True, db_default="", default="", max_length=120)),
                ("state", models.CharField(db_default="waiting", default="waiting", max_length=8)),
                ("ordered_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("first_at", models.DateTimeField(null=True)),
                ("next_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
                ("tries", models.PositiveIntegerField(db_default=0, default=0)),
                ("finished_at", models.DateTimeField(null=True)),
                ("external_id", models.CharField(blank=True, db_default="", default="", max_length=120)),
                ("url", models.TextField(blank=True, db_default="", default="")),
                ("error_code", models.CharField(blank=True, db_default="", default="", max_length=60)),
                ("error", models.CharField(blank=True, db_default="", default="", max_length=400)),
                ("look_at", models.DateTimeField(null=True)),
                ("looked_at", models.DateTimeField(null=True)),
                ("received", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("disputed_at", models.DateTimeField(null=True)),
                (
                    "invoice",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="collections",
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
                "indexes": [
                    models.Index(condition=models.Q(("state", "waiting")), fields=["next_at"], name="collection_due"),
                    models.Index(
                        condition=models.Q(("look_at__isnull", False)), fields=["look_at"], name="collection_to_look_at"
                    ),
                    models.Index(
                        condition=models.Q(("external_id", ""), _negated=True),
                        fields=["external_id"],
                        name="collection_known_as",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "object_id", "step", "attempt"), name="collection_once"),
                    models.UniqueConstraint(fields=("tenant", "invoice", "n"), name="collection_in_order"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("step__in", ["push", "charge", "paid_outside", "credit", "refund", "void"])
                        ),
                        name="collection_step_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "done", "failed", "declined"])),
                        name="collection_state_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentAccount",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("external_id", models.CharField(blank=True, db_default="", default="", max_length=120)),
                ("name", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("email", models.CharField(blank=True, db_default="", default="", max_length=254)),
                ("first_at", models.DateTimeField(null=True)),
                ("autopay", models.BooleanField(db_default=False, default=False)),
                (
                    "tenant",
                    models.OneToOneField(
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
                "indexes": [models.Index(fields=["external_id"], name="payment_account_known_as")],
            },
        ),
        GrantTable("GatewayEvent", app="INSERT", control="SELECT, UPDATE"),
        GrantTable("PaymentCircuit", control="SELECT, UPDATE", operator="SELECT"),
        SecureTable("PaymentAccount", control=True, app="SELECT", control_grants="SELECT, INSERT, UPDATE"),
        SecureTable(
            "Collection", control=True, app="SELECT", control_grants="SELECT, INSERT, UPDATE", operator="SELECT, INSERT"
        ),
        migrations.RunSQL(sql.KEEP_INVOICE, migrations.RunSQL.noop),
        migrations.RunSQL(sql.RIGHTS, migrations.RunSQL.noop),
    ]
