from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0042_required_tags_have_kinds")]

    operations = [
        migrations.AddIndex(
            model_name="usageseries",
            index=models.Index(
                condition=models.Q(("job_id", None)), fields=["tenant", "resource"], name="series_resource"
            ),
        ),
    ]
