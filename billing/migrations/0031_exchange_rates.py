"""Exchange rates of the seller, and which of them converted usage."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
from billing.migrations import _exchange as sql
from tenants.isolation.rls import GrantTable


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0030_unused_top_ups_go_back"),
        ("tenants", "0041_leavers_ask_nobody"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExchangeRate",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=3)),
                ("target", models.CharField(max_length=3)),
                ("rate", models.DecimalField(decimal_places=12, max_digits=38)),
                ("valid_from", models.DateTimeField()),
                ("origin", models.CharField(max_length=120)),
                ("entered_by", models.CharField(max_length=254)),
                ("entered_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="usagerollup",
            name="rollup_once",
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(model_name="usageevent", name="rate_id", field=models.UUIDField(null=True)),
            ]
        ),
        migrations.AddConstraint(
            model_name="exchangerate",
            constraint=models.UniqueConstraint(
                fields=("source", "target", "valid_from"), name="exchange_rate_start_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="exchangerate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rate__gt", 0),
                    ("rate__lt", 1000000000000),
                    ("source__regex", "^[A-Z]{3}$"),
                    ("target__regex", "^[A-Z]{3}$"),
                    models.Q(("source", models.F("target")), _negated=True),
                ),
                name="exchange_rate_is_real",
            ),
        ),
        migrations.AddField(
            model_name="usagerollup",
            name="rate",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.exchangerate",
            ),
        ),
        migrations.AddConstraint(
            model_name="usagerollup",
            constraint=models.UniqueConstraint(
                fields=("tenant", "series_hash", "hour", "day", "period", "project", "meter", "price", "rate"),
                name="rollup_once",
                nulls_distinct=False,
            ),
        ),
        GrantTable("ExchangeRate", app="SELECT", control="SELECT", operator="SELECT, INSERT"),
        migrations.RunSQL(sql.GUARDS, migrations.RunSQL.noop),
        migrations.RunSQL(sql.CONTRACTS, migrations.RunSQL.noop),
        migrations.RunSQL(sql.SUMS, migrations.RunSQL.noop),
    ]
