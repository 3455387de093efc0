from django.db import migrations

# Whoever is not the control role changes no operator: a login of its own in the group exchequer_app neither. Of an operator's
# row it may write how the product looks for this person, and when they logged in.
GUARD = """
CREATE FUNCTION tenants_guards_operators() RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT NOT (pg_has_role(current_user, 'exchequer_control', 'USAGE') OR pg_has_role(current_user, 'exchequer_owner', 'USAGE')) $$;

CREATE OR REPLACE FUNCTION tenants_only_control_makes_operators() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF NEW.is_operator AND (TG_OP = 'INSERT' OR NOT OLD.is_operator) AND tenants_guards_operators() THEN
    RAISE EXCEPTION 'the web role makes nobody an operator' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION tenants_only_control_changes_operators() RETURNS trigger LANGUAGE plpgsql AS
$$ DECLARE
  free constant text[] := ARRAY['name', 'theme', 'single_keys', 'last_login'];
BEGIN
  IF OLD.is_operator AND tenants_guards_operators()
     AND (TG_OP = 'DELETE' OR to_jsonb(OLD) - free IS DISTINCT FROM to_jsonb(NEW) - free) THEN
    RAISE EXCEPTION 'the web role changes no operator' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""
# An account has one address, its own. A row here would be a second one to log in by and to ask for a new password with.
ADDRESSES = """
DELETE FROM account_emailconfirmation;
DELETE FROM account_emailaddress;
REVOKE INSERT, UPDATE ON account_emailaddress, account_emailconfirmation FROM exchequer_app, exchequer_control;
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0008_retention"), ("account", "0009_emailaddress_unique_primary_email")]

    operations = [migrations.RunSQL(GUARD + ADDRESSES, migrations.RunSQL.noop)]
