"""SQL of migration 0033: readings and pieces are voided and never changed, and a meter keeps how it aggregates."""

GUARDS = """
CREATE FUNCTION billing_keep_reading() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.voided_at IS NOT NULL OR to_jsonb(NEW) - 'voided_at' IS DISTINCT FROM to_jsonb(OLD) - 'voided_at' THEN
        RAISE EXCEPTION 'it is voided once, and nothing else of it changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_meterreading FOR EACH ROW EXECUTE FUNCTION billing_keep_reading();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_meterpiece FOR EACH ROW EXECUTE FUNCTION billing_keep_reading();
CREATE FUNCTION billing_keep_aggregation() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM billing_usagerollup r WHERE r.tenant_id = OLD.tenant_id AND r.meter_id = OLD.id)
        OR EXISTS (SELECT FROM billing_meterreading r WHERE r.tenant_id = OLD.tenant_id AND r.meter_id = OLD.id) THEN
        RAISE EXCEPTION 'a meter with usage keeps its aggregation'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'meter_keeps_aggregation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_aggregation BEFORE UPDATE OF aggregation ON billing_meter FOR EACH ROW
    WHEN (OLD.aggregation IS DISTINCT FROM NEW.aggregation) EXECUTE FUNCTION billing_keep_aggregation();
"""
VOIDING = "SELECT, INSERT, UPDATE (voided_at)"
