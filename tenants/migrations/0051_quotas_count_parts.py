"""What is in use of a quota, and what is reserved of it, may be a part: of a device, in thousandths."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0050_figures_of_the_month_before")]

    operations = [
        migrations.AlterField("quota", "in_use", models.DecimalField(decimal_places=3, default=0, max_digits=22)),
        migrations.AlterField("quotareservation", "amount", models.DecimalField(decimal_places=3, max_digits=22)),
    ]
