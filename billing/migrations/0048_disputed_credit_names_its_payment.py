"""Credit that a bank took out of a wallet names the payment that it was of: the bank keeps as much of that."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0047_billing_details_change")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="creditmovement",
            name="payment",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
    ]
