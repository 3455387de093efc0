from django.db import migrations

TABLES = ("tenants_approval", "tenants_project")
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in TABLES)
SHUT = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in TABLES)

# Requests for access kept their project only in what was asked for, so that nothing hid them with it.
FILL = """
UPDATE tenants_approval a SET project_id = p.id FROM tenants_project p
 WHERE a.kind = 'access' AND a.project_id IS NULL AND p.tenant_id = a.tenant_id AND p.id::text = a.wanted->>'project';
SET CONSTRAINTS ALL IMMEDIATE;SET CONSTRAINTS ALL DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0037_reasons_outlive_a_closing"),
    ]

    operations = [migrations.RunSQL(OPEN + FILL + SHUT, migrations.RunSQL.noop)]
