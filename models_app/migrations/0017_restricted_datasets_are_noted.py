from django.db import migrations

TABLES = ("tenants_tenant", "models_app_dataset")
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in TABLES)
CLOSED = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in TABLES)

NOTED = """
CREATE TRIGGER a_restriction_is_noted AFTER INSERT OR UPDATE OF restricted ON models_app_dataset FOR EACH ROW
  WHEN (NEW.restricted) EXECUTE FUNCTION exchequer_note_restriction();
UPDATE tenants_tenant t SET has_restricted = true
  WHERE NOT has_restricted
    AND EXISTS (SELECT FROM models_app_dataset d WHERE d.tenant_id = t.id AND d.restricted);
"""


class Migration(migrations.Migration):
    dependencies = [("models_app", "0016_objects_are_shared"), ("tenants", "0025_tenants_that_restrict")]

    operations = [migrations.RunSQL(OPEN + NOTED + CLOSED, migrations.RunSQL.noop)]
