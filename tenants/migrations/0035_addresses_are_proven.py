from django.db import migrations, models

# Policies bind the owner, too; without FORCE it may write the rows of every tenant, until the end of this migration.
TABLES = ("tenants_user", "tenants_invitation")
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in TABLES)
SHUT = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in TABLES)

# How the link came to the person was not stored: accounts that an invitation made, as far as it is kept, count as not proven.
MARK = """
UPDATE tenants_user u SET address_proven = false
 WHERE NOT u.is_operator AND NOT u.provider_only AND EXISTS (
   SELECT FROM tenants_invitation i
    WHERE i.email = u.email AND i.accepted_at - u.created_at BETWEEN interval '-5 seconds' AND interval '5 seconds');
SET CONSTRAINTS ALL IMMEDIATE;SET CONSTRAINTS ALL DEFERRED;
"""
GLASS = "GRANT SELECT (address_proven) ON tenants_user TO exchequer_glass;"


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0034_keys_are_replaced"),
    ]

    operations = [
        migrations.AddField(
            model_name="invitation",
            name="mailed",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="user",
            name="address_proven",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.RunSQL(OPEN + MARK + SHUT, migrations.RunSQL.noop),
        migrations.RunSQL(GLASS, migrations.RunSQL.noop),
    ]
