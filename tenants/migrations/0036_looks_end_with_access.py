from django.db import migrations

# A look shows nothing once its operator has lost the role, the account or every session, whatever wrote that down.
LOOK = """
CREATE OR REPLACE FUNCTION exchequer_glass_tenant() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT g.tenant_id FROM tenants_breakglass g
   WHERE g.session_hash = decode(nullif(current_setting('app.glass', true), ''), 'hex')
     AND g.ended_at IS NULL AND g.ends_at > exchequer_now()
     AND EXISTS (SELECT FROM tenants_operatorgrant o JOIN tenants_user u ON u.id = o.user_id AND u.is_active
                 WHERE o.user_id = g.operator AND o.role IN ('platform_admin', 'platform_support'))
     AND EXISTS (SELECT FROM tenants_operatorsession s
                 WHERE s.user_id = g.operator AND s.expire_date > clock_timestamp()) $$;
"""
# The commands on the machine end the looks of those whom they dismiss, and a task writes down those that are over.
CONTROL = """
CREATE POLICY control_rows ON tenants_breakglass TO exchequer_control USING (true) WITH CHECK (true);
GRANT UPDATE (ended_at, ended_label) ON tenants_breakglass TO exchequer_control;
"""
# No role of a process makes a look longer, opens one that is over, or answers one a second time or while it asks.
BOUNDS = """
CREATE FUNCTION tenants_a_look_never_grows() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.answered_by IS NOT NULL OR NEW.ended_at IS NOT NULL OR NEW.session_hash IS NOT NULL
       OR NEW.ends_at > exchequer_now() + NEW.minutes * interval '1 minute' THEN
      RAISE EXCEPTION 'look %: it begins as it was asked for', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (OLD.operator, OLD.tenant_id, OLD.minutes, OLD.needs_second) IS DISTINCT FROM
     (NEW.operator, NEW.tenant_id, NEW.minutes, NEW.needs_second)
     OR OLD.ended_at IS NOT NULL AND (NEW.ended_at, NEW.ends_at, NEW.ticket_hash, NEW.session_hash) IS DISTINCT FROM
                                     (OLD.ended_at, OLD.ends_at, OLD.ticket_hash, OLD.session_hash)
     OR OLD.answered_by IS NOT NULL AND NEW.answered_by IS DISTINCT FROM OLD.answered_by
     OR OLD.ends_at IS NOT NULL AND NEW.ends_at IS DISTINCT FROM OLD.ends_at
     OR OLD.ends_at IS NULL AND NEW.ends_at > exchequer_now() + NEW.minutes * interval '1 minute' THEN
    RAISE EXCEPTION 'look %: it ends when it was to end', NEW.id USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER a_look_never_grows BEFORE INSERT OR UPDATE ON tenants_breakglass
  FOR EACH ROW EXECUTE FUNCTION tenants_a_look_never_grows();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0035_addresses_are_proven")]

    operations = [migrations.RunSQL(LOOK + CONTROL + BOUNDS)]
