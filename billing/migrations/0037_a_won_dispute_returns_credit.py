"""A dispute of the payer's bank that is won brings back the credit that it took."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0033_meters_take_readings")]

    operations = [
        migrations.RemoveConstraint(model_name="creditmovement", name="credit_moves"),
        migrations.AlterField(
            model_name="creditmovement",
            name="kind",
            field=models.CharField(
                choices=[
                    ("used", "used"),
                    ("returned", "returned"),
                    ("expired", "expired"),
                    ("withdrawn", "withdrawn"),
                    ("refunded", "refunded"),
                    ("disputed", "disputed"),
                    ("won_back", "won_back"),
                ],
                max_length=9,
            ),
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gt", 0),
                    models.Q(
                        models.Q(("invoice__isnull", False), ("kind__in", ["used", "returned"])),
                        models.Q(
                            ("invoice__isnull", True),
                            ("kind__in", ["expired", "withdrawn", "refunded", "disputed", "won_back"]),
                        ),
                        _connector="OR",
                    ),
                ),
                name="credit_moves",
            ),
        ),
    ]
