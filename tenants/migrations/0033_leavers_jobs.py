import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0032_operators_are_notified"),
    ]

    operations = [
        migrations.AddField(
            model_name="identityprovider",
            name="leavers_heir",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="identityprovider",
            name="leavers_jobs",
            field=models.CharField(
                choices=[
                    ("keep", "they continue"),
                    ("cancel", "they are cancelled"),
                    ("hand_over", "they are handed over"),
                ],
                db_default="keep",
                default="keep",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="identityprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(("leavers_jobs__in", ["keep", "cancel", "hand_over"])),
                name="identity_provider_leavers_known",
            ),
        ),
    ]
