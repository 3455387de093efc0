from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0014_approvals")]

    operations = [
        migrations.AddField("tenant", "second_factor_required", models.BooleanField(default=False)),
        migrations.RunSQL(
            "GRANT UPDATE (second_factor_required) ON tenants_tenant TO exchequer_app;", migrations.RunSQL.noop
        ),
    ]
