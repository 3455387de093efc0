"""Each dispute of a payer's bank is known by its id: what it takes of a wallet, and how much of a payment it is about."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0045_contracts_change_currency")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="creditmovement",
            name="dispute",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="gatewayevent",
            name="amount",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="gatewayevent",
            name="currency",
            field=models.CharField(blank=True, db_default="", default="", max_length=3),
        ),
        migrations.AddIndex(
            model_name="gatewayevent",
            index=models.Index(
                condition=models.Q(("kind__in", ["disputed", "dispute_won", "dispute_lost"])),
                fields=["payment"],
                name="gateway_event_of_dispute",
            ),
        ),
    ]
