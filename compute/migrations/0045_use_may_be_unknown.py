"""Samples of devices that do not measure their use, such as instances of a GPU before Hopper."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("compute", "0044_one_try_to_drop")]

    operations = [
        migrations.AlterField(model_name="devicesample", name="busy", field=models.FloatField(null=True)),
    ]
