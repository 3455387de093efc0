from django.db import migrations

# The command that forgets a person runs as the control role, and writes over their address wherever it stands.
GRANTS = """
GRANT UPDATE ON tenants_loginattempt TO exchequer_control;
GRANT UPDATE, DELETE ON tenants_notificationchoice TO exchequer_control;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0023_accounts_of_providers"),
    ]

    operations = [
        migrations.RunSQL(GRANTS, migrations.RunSQL.noop),
    ]
