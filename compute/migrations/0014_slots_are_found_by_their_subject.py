from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("compute", "0013_operators_read_device_hours")]

    operations = [
        migrations.AddIndex(
            model_name="allocation",
            index=models.Index(fields=["tenant", "subject", "-id"], name="compute_allocation_last"),
        ),
    ]
