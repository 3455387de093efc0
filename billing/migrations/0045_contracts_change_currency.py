"""A contract may change the currency of a tenant: budgets are restated, and a budget's period has a currency of its own."""

from typing import ClassVar

from django.db import migrations, models
from django.db.models import F, Q

from billing.migrations import _currencies as sql


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0044_the_console_prices_all_meters")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="contract",
            name="currency_before",
            field=models.CharField(blank=True, db_default="", default="", max_length=3),
        ),
        migrations.AddField(
            model_name="contract",
            name="restating_rate",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="contract", name="restating_decimals", field=models.PositiveSmallIntegerField(null=True)
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=Q(currency_before="", restating_rate=None, restating_decimals=None)
                | ~Q(currency_before="")
                & ~Q(currency_before=F("currency"))
                & Q(restating_rate__gt=0, restating_decimals__lte=12),
                name="contract_restates_what_it_changes",
            ),
        ),
        migrations.AddField(
            model_name="budgetperiod",
            name="currency",
            field=models.CharField(max_length=3, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="reportlimit",
            name="currency",
            field=models.CharField(max_length=3, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="showbackprice",
            name="currency",
            field=models.CharField(max_length=3, default=""),
            preserve_default=False,
        ),
        migrations.RunSQL(sql.FILL, migrations.RunSQL.noop),
        migrations.RunSQL(sql.FUNCTIONS, migrations.RunSQL.noop),
        migrations.RunSQL(sql.KEPT, migrations.RunSQL.noop),
        migrations.RunSQL(sql.LOOKED_AT, migrations.RunSQL.noop),
    ]
