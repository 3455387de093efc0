"""The demo saves presets with the control role, as it does pipelines and schedules."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("models_app", "0028_serving_nodes_have_logins")]

    operations = [
        migrations.RunSQL(
            "GRANT INSERT ON models_app_preset TO exchequer_control",
            "REVOKE INSERT ON models_app_preset FROM exchequer_control",
        ),
    ]
