from django.db import migrations, models

TABLES = ("tenants_tenant", "tenants_project")
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in TABLES)
CLOSED = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in TABLES)

# Runs with the rights of the role that writes: in the open scope, whose tenant it may change.
NOTED = """
CREATE FUNCTION exchequer_note_restriction() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  UPDATE tenants_tenant SET has_restricted = true WHERE id = NEW.tenant_id AND NOT has_restricted;
  RETURN NULL;
END $$;
CREATE TRIGGER a_restriction_is_noted AFTER INSERT OR UPDATE OF restricted ON tenants_project FOR EACH ROW
  WHEN (NEW.restricted) EXECUTE FUNCTION exchequer_note_restriction();
GRANT UPDATE (has_restricted) ON tenants_tenant TO exchequer_app;
UPDATE tenants_tenant t SET has_restricted = true
  WHERE EXISTS (SELECT FROM tenants_project p WHERE p.tenant_id = t.id AND p.restricted);
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0024_a_person_is_forgotten")]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="has_restricted",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(OPEN + NOTED + CLOSED, migrations.RunSQL.noop),
    ]
