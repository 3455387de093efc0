"""SQL of the migration of wallets: what of a block never changes, what a prepaid wallet owes, and who writes what."""

from tenants.isolation.rls import APP, CONTROL, OPERATOR, TENANT

READ = ("billing_creditnote", "billing_invoice", "billing_wallet", "billing_creditblock")
# Policies bind the owner, too; without FORCE it may write the rows of every tenant, until the end of this migration.
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in READ)
SHUT = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in READ)
# What credit notes have put into wallets so far.
CREDITED = """
INSERT INTO billing_wallet (id, tenant_id, currency)
SELECT DISTINCT ON (n.tenant_id, i.currency) gen_random_uuid(), n.tenant_id, i.currency
FROM billing_creditnote n JOIN billing_invoice i ON i.tenant_id = n.tenant_id AND i.id = n.invoice_id WHERE n.to_wallet > 0;
INSERT INTO billing_creditblock (id, tenant_id, currency, kind, source, amount, remaining, starts_on, reason, invoice_id, made_by)
SELECT gen_random_uuid(), n.tenant_id, i.currency, 'paid', 'credit_note', n.to_wallet, n.to_wallet, n.issued_at::date, n.label, n.invoice_id, n.issued_by
FROM billing_creditnote n JOIN billing_invoice i ON i.tenant_id = n.tenant_id AND i.id = n.invoice_id WHERE n.to_wallet > 0;
"""
KEPT = """
CREATE FUNCTION billing_keep_credit() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    moving text[] := ARRAY['remaining', 'warned_at'];
BEGIN
    IF TG_OP = 'DELETE' OR (to_jsonb(NEW) - moving) IS DISTINCT FROM (to_jsonb(OLD) - moving) THEN
        RAISE EXCEPTION 'of a block of credit only what is left of it changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_creditblock FOR EACH ROW EXECUTE FUNCTION billing_keep_credit();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_creditmovement FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""
# Sums for a wallet of the open scope alone: the console counts it without reading holds. An invoice may be voided and
# issued again, so what is unbilled is the usage of months whose invoice is a draft.
USE = f"""
CREATE POLICY lookup_rows ON billing_hold FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON billing_invoice FOR SELECT TO exchequer_owner USING (true);
CREATE FUNCTION billing_prepaid_use(wanted text) RETURNS TABLE (held numeric, spent numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT
     (SELECT coalesce(sum(h.amount - h.settled), 0) FROM billing_hold h
      WHERE h.tenant_id = {TENANT} AND h.currency = wanted AND h.state = 'open'),
     (SELECT coalesce(sum(s.amount), 0) FROM billing_invoice i CROSS JOIN LATERAL (
        SELECT r.amount FROM billing_usagerollup r WHERE r.tenant_id = i.tenant_id AND r.period = i.period
          AND r.day >= i.period AND r.day < i.period + interval '1 month'
        UNION ALL
        SELECT r.amount FROM billing_usagerollup r WHERE r.tenant_id = i.tenant_id AND r.period = i.period AND r.day < r.period
      ) s
      WHERE i.tenant_id = {TENANT} AND i.currency = wanted AND i.kind = 'period' AND i.state IN ('draft', 'in_review')) $$;
REVOKE ALL ON FUNCTION billing_prepaid_use(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_prepaid_use(text) TO {APP}, {CONTROL}, {OPERATOR};
"""  # noqa: S608 (constants)
# The ops worker issues the invoice of a top-up.
ISSUED = "series_id, number, label, finalised_at, finalised_by, due_on, subtotal, tax, total, taxes, seller, customer, content_hash"
GRANTS = f"""
GRANT INSERT (kind), UPDATE ({ISSUED}) ON billing_invoice TO {CONTROL};
GRANT INSERT ON billing_invoiceline TO {CONTROL};
"""


def guards() -> str:
    """Return the statements that run after the tables are made."""
    return OPEN + CREDITED + SHUT + KEPT + USE + GRANTS
