"""An endpoint that its budget stopped."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("models_app", "0004_failed_versions_can_go"),
        ("tenants", "0004_theme_follows_the_system"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="endpoint",
            name="models_app_endpoint_state",
        ),
        migrations.AddField(
            model_name="endpoint",
            name="cause",
            field=models.CharField(blank=True, db_default="", default="", max_length=10),
        ),
        migrations.AlterField(
            model_name="endpoint",
            name="state",
            field=models.CharField(
                choices=[
                    ("deploying", "Deploying"),
                    ("ready", "Ready"),
                    ("failed", "Failed"),
                    ("stopped", "Stopped"),
                    ("undeployed", "Undeployed"),
                ],
                default="deploying",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["deploying", "ready", "failed", "stopped", "undeployed"])),
                name="models_app_endpoint_state",
            ),
        ),
    ]
