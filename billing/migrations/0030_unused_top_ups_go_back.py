"""What is left of a top-up goes back to the payer, or is taken away when the payer's bank took the payment back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0029_a_second_person_for_invoices")]

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
                            ("kind__in", ["expired", "withdrawn", "refunded", "disputed"]),
                        ),
                        _connector="OR",
                    ),
                ),
                name="credit_moves",
            ),
        ),
    ]
