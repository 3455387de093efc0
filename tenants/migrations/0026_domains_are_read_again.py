from django.db import migrations, models

# The sweep finds what is due before it knows the tenant.
SWEEP = """
CREATE POLICY control_rows ON tenants_maildomain TO exchequer_control USING (true) WITH CHECK (true);
GRANT UPDATE ON tenants_maildomain TO exchequer_control;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0025_tenants_that_restrict"),
    ]

    operations = [
        migrations.AddField(
            model_name="maildomain",
            name="missing_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="maildomain",
            name="read_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="maildomain",
            index=models.Index(
                condition=models.Q(("verified_at__isnull", False)), fields=["read_at"], name="mail_domain_to_read"
            ),
        ),
        migrations.RunSQL(SWEEP, "DROP POLICY control_rows ON tenants_maildomain"),
    ]
