"""SQL of migration 0013: what a closed month refuses, and what a correction may be."""

# The check that ties the period to the month of the day has a name of its own in each partition.
USAGE = """
DO $$
DECLARE
    part regclass;
    tied text;
BEGIN
    FOR part IN SELECT 'billing_usageevent'::regclass UNION ALL SELECT inhrelid::regclass FROM pg_inherits
                WHERE inhparent = 'billing_usageevent'::regclass LOOP
        FOR tied IN SELECT conname FROM pg_constraint WHERE conrelid = part AND contype = 'c' AND coninhcount = 0
                    AND pg_get_constraintdef(oid) LIKE '%date_trunc(%day%' LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', part, tied);
        END LOOP;
    END LOOP;
END $$;
ALTER TABLE billing_usageevent
    ADD COLUMN discount numeric(38, 12) NOT NULL DEFAULT 0 CHECK (discount > '-Infinity' AND discount < 'Infinity'),
    ADD CONSTRAINT usage_is_billed_later_at_most CHECK (date_trunc('month', day::timestamp) <= period::timestamp);
GRANT INSERT (discount) ON billing_usageevent TO exchequer_app, exchequer_control;
ALTER TABLE billing_usagerollup
    DROP CONSTRAINT rollup_is_real,
    ADD CONSTRAINT rollup_is_real CHECK (
        events > 0 AND measured < 'Infinity' AND billable < 'Infinity' AND amount < 'Infinity' AND discount < 'Infinity'
        AND measured > '-Infinity' AND billable > '-Infinity' AND amount > '-Infinity' AND discount > '-Infinity'
    ),
    -- A correction may take away what a closed month counted.
    ADD CONSTRAINT rollup_is_positive CHECK (
        day < period OR (measured >= 0 AND billable >= 0 AND billable <= measured AND amount >= 0)
    ),
    ADD CONSTRAINT rollup_is_billed_later_at_most CHECK (date_trunc('month', day::timestamp) <= period::timestamp);
"""
# Each month with usage is open. Policies bind the owner, too; without FORCE it may read the rows of every tenant.
PERIODS = """
ALTER TABLE billing_invoice NO FORCE ROW LEVEL SECURITY;
ALTER TABLE billing_billingperiod NO FORCE ROW LEVEL SECURITY;
INSERT INTO billing_billingperiod (id, tenant_id, period, starts_at, ends_at)
SELECT DISTINCT ON (tenant_id, period) gen_random_uuid(), tenant_id, period, starts_at, ends_at FROM billing_invoice
ORDER BY tenant_id, period, created_at;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
ALTER TABLE billing_billingperiod FORCE ROW LEVEL SECURITY;
ALTER TABLE billing_invoice FORCE ROW LEVEL SECURITY;
"""
CLOSED = """
CREATE FUNCTION billing_refuse_closed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    late date := (SELECT min(n.period) FROM (SELECT DISTINCT tenant_id, period FROM stored) n
                  WHERE EXISTS (SELECT FROM billing_billingperiod p
                                WHERE p.tenant_id = n.tenant_id AND p.period >= n.period AND p.state = 'closed'));
BEGIN
    IF late IS NOT NULL THEN
        RAISE EXCEPTION 'the month % is closed: later usage is a correction in an open month', late
            USING ERRCODE = 'check_violation', CONSTRAINT = 'period_is_open';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER open_period AFTER INSERT ON billing_usageevent REFERENCING NEW TABLE AS stored
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_closed();
CREATE TRIGGER open_period_added AFTER INSERT ON billing_usagerollup REFERENCING NEW TABLE AS stored
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_closed();
CREATE TRIGGER open_period_changed AFTER UPDATE ON billing_usagerollup REFERENCING NEW TABLE AS stored
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_closed();
CREATE FUNCTION billing_keep_closed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state = 'closed' OR (NEW.tenant_id, NEW.period) IS DISTINCT FROM (OLD.tenant_id, OLD.period) THEN
        RAISE EXCEPTION 'a period only closes, and stays closed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'closed' AND NEW.ends_at > exchequer_now() THEN
        RAISE EXCEPTION 'a period closes after it has ended' USING ERRCODE = 'check_violation', CONSTRAINT = 'period_has_ended';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_billingperiod FOR EACH ROW EXECUTE FUNCTION billing_keep_closed();
"""
