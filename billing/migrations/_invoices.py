"""SQL of migration 0014: who writes invoices, and what of a standing one never changes."""

from tenants.isolation.rls import APP, CONTROL, OPERATOR, TENANT, composite_key_sql, grant_sql

SERIES = """
INSERT INTO billing_numberseries (id, prefix) VALUES (gen_random_uuid(), 'INV'), (gen_random_uuid(), 'CN');
INSERT INTO billing_seller (only_row, name, address, country, tax_number, email, how_to_pay) VALUES (true, '', '', '', '', '', '');
"""
# Usage opens a draft; an operator finalises and voids it; the ops worker sends it and records what the gateway collected.
SETTLING = "starts_at, ends_at, state, paid, returned, sent_at"
GRANTS = f"""
REVOKE ALL ON billing_invoice FROM {APP}, {CONTROL};
GRANT SELECT, INSERT (id, tenant_id, period, starts_at, ends_at, currency) ON billing_invoice TO {APP};
GRANT SELECT, INSERT (id, tenant_id, period, starts_at, ends_at, currency), UPDATE ({SETTLING}) ON billing_invoice TO {CONTROL};
GRANT SELECT, INSERT, UPDATE ON billing_invoice TO {OPERATOR};
GRANT SELECT, INSERT ON billing_ledgertransaction, billing_ledgerposting TO {OPERATOR};
GRANT SELECT ON billing_meter TO {OPERATOR};
"""
# These tables had no rows for the console: it writes them within one tenant.
POLICIES = ";".join(
    f"ALTER POLICY tenant_rows ON {table} TO {APP}, {CONTROL}, {OPERATOR}"
    for table in ("billing_invoice", "billing_ledgertransaction", "billing_ledgerposting", "billing_meter")
)
# What the console's acts on invoices lead to, beside the events of its other acts.
TOPICS = "('billing.InvoiceFinalised', 'billing.InvoiceVoided', 'billing.InvoiceCredited', 'billing.InvoicePaid')"
EVENTS = f"""
CREATE POLICY operator_invoices ON tenants_outboxmessage TO {OPERATOR}
  USING (tenant_id = {TENANT} AND topic IN {TOPICS}) WITH CHECK (tenant_id = {TENANT} AND topic IN {TOPICS});
"""
# Sums by line of a tenant's months, for all who show or issue invoices: within the open scope alone.
SUMS = f"""
CREATE FUNCTION billing_sums_of_lines(months date[], own text[])
RETURNS TABLE (period date, project_id uuid, meter_id uuid, price_id uuid, outside boolean, origin date, measured numeric,
  billable numeric, amount numeric, discount numeric, events numeric, first_hour timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ WITH billed AS (
     SELECT * FROM billing_usagerollup r WHERE r.tenant_id = {TENANT} AND r.day >= r.period AND r.period = ANY (months)
       AND r.day >= (SELECT min(m) FROM unnest(months) m) AND r.day < (SELECT max(m) FROM unnest(months) m) + interval '1 month'
     UNION ALL
     SELECT * FROM billing_usagerollup r WHERE r.tenant_id = {TENANT} AND r.day < r.period AND r.period = ANY (months)
   )
   SELECT r.period, r.project_id, r.meter_id, r.price_id, s.source <> ALL (own),
     CASE WHEN r.day < r.period THEN date_trunc('month', r.day)::date END,
     sum(r.measured), sum(r.billable), sum(r.amount), sum(r.discount), sum(r.events), min(r.hour)
   FROM billed r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
   GROUP BY 1, 2, 3, 4, 5, 6 $$;
REVOKE ALL ON FUNCTION billing_sums_of_lines(date[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_sums_of_lines(date[], text[]) TO {APP}, {CONTROL}, {OPERATOR};
"""  # noqa: S608 (constants)
STANDING = """
CREATE FUNCTION billing_keep_invoice() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    moving text[] := ARRAY['state', 'credited', 'paid', 'returned', 'sent_at', 'voided_at', 'voided_by', 'void_reason'];
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'an invoice is never removed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (NEW.id, NEW.tenant_id, NEW.period, NEW.currency, NEW.kind) IS DISTINCT FROM (OLD.id, OLD.tenant_id, OLD.period, OLD.currency, OLD.kind) THEN
        RAISE EXCEPTION 'an invoice keeps its month' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.state IN ('draft', 'in_review') THEN
        IF NEW.state NOT IN ('draft', 'in_review', 'finalised') THEN
            RAISE EXCEPTION 'an invoice is finalised first' USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_state_follows';
        END IF;
    ELSIF (to_jsonb(NEW) - moving) IS DISTINCT FROM (to_jsonb(OLD) - moving)
        OR NOT (NEW.state = OLD.state OR (OLD.state, NEW.state) IN (('finalised', 'paid'), ('paid', 'finalised'), ('finalised', 'void')))
        OR (OLD.state = 'void' AND to_jsonb(NEW) - 'sent_at' IS DISTINCT FROM to_jsonb(OLD) - 'sent_at')
        OR NEW.credited < OLD.credited OR NEW.paid < OLD.paid OR NEW.returned < OLD.returned THEN
        RAISE EXCEPTION 'a finalised invoice never changes' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'invoice_stands';
    END IF;
    IF NEW.state = 'finalised' AND OLD.state <> 'finalised' AND NEW.kind = 'period' AND NOT EXISTS (
        SELECT FROM billing_billingperiod p WHERE p.tenant_id = NEW.tenant_id AND p.period = NEW.period AND p.state = 'closed') THEN
        RAISE EXCEPTION 'an invoice is finalised when its month is closed' USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_of_a_closed_month';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_invoice FOR EACH ROW EXECUTE FUNCTION billing_keep_invoice();
CREATE FUNCTION billing_keep_draft() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM billing_invoice i WHERE i.tenant_id = NEW.tenant_id AND i.id = NEW.invoice_id AND i.state IN ('draft', 'in_review')) THEN
        RAISE EXCEPTION 'a finalised invoice takes no more lines' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'invoice_stands';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER draft BEFORE INSERT ON billing_invoiceline FOR EACH ROW EXECUTE FUNCTION billing_keep_draft();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_invoiceline FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_creditnote FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_creditnoteline FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_payment FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
-- A number is taken once, in order.
CREATE FUNCTION billing_keep_series() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.next_number <> OLD.next_number + 1 OR (NEW.id, NEW.prefix) IS DISTINCT FROM (OLD.id, OLD.prefix) THEN
        RAISE EXCEPTION 'a series gives its next number, and nothing else' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_numberseries FOR EACH ROW EXECUTE FUNCTION billing_keep_series();
"""


# Operators list the invoices of all tenants, and write those of one.
READ = f"CREATE POLICY operator_rows ON billing_invoice FOR SELECT TO {OPERATOR} USING (true);"


def guards() -> str:
    """Return the statements that run after the tables are made."""
    platform = [
        *grant_sql(
            "billing_numberseries",
            app="",
            control="SELECT, UPDATE (next_number)",
            operator="SELECT, UPDATE (next_number)",
        ),
        *grant_sql("billing_seller", app="SELECT", control="SELECT", operator="SELECT, UPDATE"),
    ]
    return ";".join(
        [*platform, composite_key_sql("billing_invoice", "replaces_id", "billing_invoice"), POLICIES, ""]
    ) + (SERIES + GRANTS + READ + EVENTS + SUMS + STANDING)
