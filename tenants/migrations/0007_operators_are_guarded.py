from django.db import migrations

# The web role makes nobody an operator; nor does it take over the account of one, by a password, an address or the flag.
GUARD = """
CREATE FUNCTION tenants_only_control_changes_operators() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF current_user = 'exchequer_app' AND OLD.is_operator AND (
       TG_OP = 'DELETE'
       OR (OLD.id, OLD.email, OLD.password, OLD.is_active, OLD.is_operator)
          IS DISTINCT FROM (NEW.id, NEW.email, NEW.password, NEW.is_active, NEW.is_operator)) THEN
    RAISE EXCEPTION 'the web role changes no operator' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER only_control_changes_operators BEFORE UPDATE OR DELETE ON tenants_user
  FOR EACH ROW EXECUTE FUNCTION tenants_only_control_changes_operators();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_encryption_keys")]

    operations = [migrations.RunSQL(GUARD, migrations.RunSQL.noop)]
