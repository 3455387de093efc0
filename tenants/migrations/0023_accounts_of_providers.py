from django.db import migrations, models

# Policies bind the owner, too; without FORCE it may write the rows of every tenant, until the end of this migration.
TABLES = ("tenants_user", "mfa_authenticator", "tenants_externalidentity", "tenants_scimuser")
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in TABLES)
SHUT = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in TABLES)

# A provider made an account if it named the person while it was made, in one transaction. Some of these got a password
# since, by a link for a forgotten one: it goes, and with it the sessions that it opened and a second factor.
MARK = """
UPDATE tenants_user u SET provider_only = true,
       password = CASE WHEN u.password LIKE '!%' THEN u.password ELSE '!' || md5(random()::text) END
 WHERE NOT u.is_operator AND EXISTS (
   SELECT FROM (SELECT user_id, created_at FROM tenants_externalidentity
                UNION ALL SELECT user_id, created_at FROM tenants_scimuser) named
    WHERE named.user_id = u.id AND named.created_at - u.created_at < interval '5 seconds');
DELETE FROM mfa_authenticator a USING tenants_user u WHERE u.id = a.user_id AND u.provider_only;
SET CONSTRAINTS ALL IMMEDIATE;SET CONSTRAINTS ALL DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0022_projects_are_restricted"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="provider_only",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(OPEN + MARK + SHUT, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(provider_only=False) | models.Q(is_operator=False, password__startswith="!"),  # noqa: S106
                name="user_of_provider_has_no_password",
            ),
        ),
    ]
