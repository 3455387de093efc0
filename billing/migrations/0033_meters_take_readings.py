"""Meters say how they make a quantity of their events; readings, and the pieces of usage that they count."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.isolation.scoping
from billing.migrations import _readings as sql
from tenants.isolation.rls import SecureTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0032_shared_costs"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.CreateModel(
            name="MeterPiece",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant_id", "key_hash", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key_hash", models.BinaryField()),
                ("reading_key", models.BinaryField()),
                ("group_hash", models.BinaryField()),
                ("series_hash", models.BinaryField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("quantity", models.DecimalField(decimal_places=12, max_digits=38)),
                ("counted_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("voided_at", models.DateTimeField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
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
            name="MeterReading",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant_id", "key_hash", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key_hash", models.BinaryField()),
                ("group_hash", models.BinaryField()),
                ("period", models.DateField()),
                ("at", models.DateTimeField()),
                ("value", models.DecimalField(decimal_places=12, max_digits=38)),
                ("label", models.CharField(blank=True, default="", max_length=200)),
                ("source", models.CharField(max_length=120)),
                ("resource", models.CharField(max_length=200)),
                ("dims", models.JSONField(default=dict)),
                ("hold_id", models.UUIDField(null=True)),
                ("recorded_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("voided_at", models.DateTimeField(null=True)),
                (
                    "batch",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.usagebatch",
                    ),
                ),
                (
                    "meter",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.meter",
                    ),
                ),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
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
            name="MeterSeries",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant_id", "group_hash", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("group_hash", models.BinaryField()),
                ("due_at", models.DateTimeField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
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
        migrations.AddField(
            model_name="heldevent",
            name="label",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="meter",
            name="aggregation",
            field=models.CharField(db_default="sum", default="sum", max_length=13),
        ),
        migrations.AddConstraint(
            model_name="meter",
            constraint=models.CheckConstraint(
                condition=models.Q(("aggregation__in", ["sum", "count", "max", "unique", "latest", "time_weighted"])),
                name="meter_aggregation_known",
            ),
        ),
        migrations.AddIndex(
            model_name="meterpiece",
            index=models.Index(
                condition=models.Q(("voided_at", None)),
                fields=["tenant", "group_hash", "starts_at"],
                name="piece_of_series",
            ),
        ),
        migrations.AddConstraint(
            model_name="meterpiece",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at")), ("quantity__gt", 0)), name="piece_is_real"
            ),
        ),
        migrations.AddConstraint(
            model_name="meterpiece",
            constraint=models.UniqueConstraint(
                condition=models.Q(("voided_at", None)),
                fields=("tenant", "reading_key", "starts_at"),
                name="piece_counts_once",
            ),
        ),
        migrations.AddIndex(
            model_name="meterreading",
            index=models.Index(
                condition=models.Q(("voided_at", None)), fields=["tenant", "group_hash", "at"], name="reading_at"
            ),
        ),
        migrations.AddIndex(
            model_name="meterreading",
            index=models.Index(
                condition=models.Q(("voided_at", None)),
                fields=["tenant", "group_hash", "period", "-value"],
                name="reading_value",
            ),
        ),
        migrations.AddIndex(
            model_name="meterreading",
            index=models.Index(
                condition=models.Q(("voided_at", None)),
                fields=["tenant", "group_hash", "period", "label", "at"],
                name="reading_label",
            ),
        ),
        migrations.AddIndex(
            model_name="meterreading",
            index=models.Index(fields=["tenant", "batch", "key_hash"], name="reading_batch"),
        ),
        migrations.AddConstraint(
            model_name="meterreading",
            constraint=models.CheckConstraint(
                condition=models.Q(("value__gte", 0), ("value__lte", 1000000000000)), name="reading_is_real"
            ),
        ),
        migrations.AddIndex(
            model_name="meterseries",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)), fields=["due_at", "tenant"], name="meter_series_due"
            ),
        ),
        SecureTable("MeterReading", app=sql.VOIDING, control_grants=sql.VOIDING),
        SecureTable("MeterPiece", app=sql.VOIDING, control_grants=sql.VOIDING),
        SecureTable(
            "MeterSeries",
            control=True,
            app="SELECT, INSERT, UPDATE",
            control_grants="SELECT, INSERT, UPDATE",
            operator="SELECT",
        ),
        migrations.RunSQL(sql.GUARDS, migrations.RunSQL.noop),
    ]
