"""SQL of migration 0026: who opens, answers and ends a dispute, and what of it never changes."""

from tenants.isolation.rls import OPERATOR, TENANT

TOPIC = "'billing.InvoiceDisputed'"
GUARDS = f"""
CREATE POLICY operator_rows ON billing_dispute FOR SELECT TO {OPERATOR} USING (true);
CREATE POLICY operator_disputes ON tenants_outboxmessage TO {OPERATOR}
  USING (tenant_id = {TENANT} AND topic = {TOPIC}) WITH CHECK (tenant_id = {TENANT} AND topic = {TOPIC});
CREATE FUNCTION billing_keep_dispute() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    moving text[] := ARRAY['state', 'ended_by', 'ended_at'];
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'open' OR (to_jsonb(NEW) - moving) IS DISTINCT FROM (to_jsonb(OLD) - moving) THEN
        RAISE EXCEPTION 'a dispute ends once, and nothing else of it changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    -- What the tenant disputes, the seller answers.
    IF NEW.state IN ('agreed', 'declined') AND current_user <> '{OPERATOR}' OR NEW.state = 'withdrawn' AND current_user = '{OPERATOR}' THEN
        RAISE EXCEPTION 'the other side ends a dispute so' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_dispute FOR EACH ROW EXECUTE FUNCTION billing_keep_dispute();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_disputemessage FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_invoicecomment FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""  # noqa: S608 (constants)
ENDING = "SELECT, UPDATE (state, ended_by, ended_at)"
