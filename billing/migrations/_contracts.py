"""SQL of migration 0009: price books leave the tenants and become the platform's, under contracts."""

from tenants.isolation import rls

BOOKS = ("billing_pricebook", "billing_priceversion", "billing_price")
READ = (*BOOKS, "billing_meter", "tenants_tenant", "tenants_role", "tenants_apikey")

# Policies bind the owner, too; without FORCE it may write the rows of every tenant, until the end of this migration.
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in READ)
SHUT = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in READ)

# Each tenant keeps its own list, under its name. The contract begins with the month of the first version, before which
# no usage has a price: so each stored interval keeps the price that it has.
CONTRACTS = """
INSERT INTO billing_contract (id, tenant_id, book_id, currency, starts_on, billing_name, agreed_by)
SELECT gen_random_uuid(), t.id, b.id, b.currency,
  date_trunc('month', coalesce((SELECT min(v.effective_at) FROM billing_priceversion v WHERE v.book_id = b.id), b.created_at)
    AT TIME ZONE t.timezone - interval '1 day')::date, t.name, 'migration'
FROM billing_pricebook b JOIN tenants_tenant t ON t.id = b.tenant_id AND t.currency = b.currency;
UPDATE billing_pricebook b SET name = t.name FROM tenants_tenant t WHERE t.id = b.tenant_id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""
# A price names its meter by key, since a meter belongs to a tenant.
KEYS = """
ALTER TABLE billing_price ADD COLUMN meter varchar(60);
ALTER TABLE billing_price DISABLE TRIGGER append_only;
UPDATE billing_price p SET meter = m.key FROM billing_meter m WHERE m.tenant_id = p.tenant_id AND m.id = p.meter_id;
ALTER TABLE billing_price ENABLE TRIGGER append_only;
ALTER TABLE billing_price ALTER COLUMN meter SET NOT NULL;
"""
WITHOUT_TENANT = """
DROP POLICY tenant_rows ON billing_pricebook;
DROP POLICY tenant_rows ON billing_priceversion;
DROP POLICY tenant_rows ON billing_price;
ALTER TABLE billing_quote DROP CONSTRAINT billing_quote_price_id_same_tenant;
ALTER TABLE billing_usagerollup DROP CONSTRAINT billing_usagerollup_price_id_same_tenant;
ALTER TABLE billing_price DROP CONSTRAINT billing_price_version_id_same_tenant,
  DROP CONSTRAINT price_once_per_dims, DROP COLUMN meter_id, DROP COLUMN tenant_id;
ALTER TABLE billing_priceversion DROP CONSTRAINT billing_priceversion_book_id_same_tenant,
  DROP CONSTRAINT price_version_number_once, DROP CONSTRAINT price_version_start_once, DROP COLUMN tenant_id;
ALTER TABLE billing_pricebook DROP CONSTRAINT price_book_once_per_currency, DROP COLUMN tenant_id;
ALTER TABLE billing_priceversion ADD CONSTRAINT billing_priceversion_book_id_fk FOREIGN KEY (book_id)
  REFERENCES billing_pricebook (id) DEFERRABLE INITIALLY DEFERRED,
  ADD CONSTRAINT price_version_number_once UNIQUE (book_id, number),
  ADD CONSTRAINT price_version_start_once UNIQUE (book_id, effective_at);
ALTER TABLE billing_price ADD CONSTRAINT billing_price_version_id_fk FOREIGN KEY (version_id)
  REFERENCES billing_priceversion (id) DEFERRABLE INITIALLY DEFERRED,
  ADD CONSTRAINT price_once_per_dims UNIQUE (version_id, meter, dims);
ALTER TABLE billing_quote ADD CONSTRAINT billing_quote_price_id_fk FOREIGN KEY (price_id)
  REFERENCES billing_price (id) DEFERRABLE INITIALLY DEFERRED;
"""
# As before, without the tenant.
PUBLISHING = """
CREATE OR REPLACE FUNCTION billing_publish_prices() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    earliest timestamptz := exchequer_now();
BEGIN
    NEW.published_in := pg_current_xact_id();
    NEW.published_at := earliest;
    IF EXISTS (SELECT FROM billing_priceversion WHERE book_id = NEW.book_id) THEN
        earliest := earliest + interval '5 minutes';
    END IF;
    NEW.effective_at := coalesce(NEW.effective_at, earliest);
    IF NEW.effective_at < earliest THEN
        RAISE EXCEPTION 'prices never start in the past: % is before %', NEW.effective_at, earliest
            USING ERRCODE = 'check_violation', CONSTRAINT = 'price_starts_ahead';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION billing_seal_version() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM billing_priceversion WHERE id = NEW.version_id AND published_in = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'a published version takes no more prices' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION billing_keep_book() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (to_jsonb(NEW) - 'name') IS DISTINCT FROM (to_jsonb(OLD) - 'name') THEN
        RAISE EXCEPTION 'of a price book only the name changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON billing_pricebook FOR EACH ROW EXECUTE FUNCTION billing_keep_book();
"""
# A tenant's first contract begins with the running month; a later one, or an end, lies at least five minutes ahead like
# the start of a price version: no accepted second changes its contract.
KEPT = """
CREATE FUNCTION billing_keep_contract() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    kept billing_contract := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
    zone text := (SELECT timezone FROM tenants_tenant WHERE id = kept.tenant_id);
    earliest timestamp := (exchequer_now() + interval '5 minutes') AT TIME ZONE zone;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.currency IS DISTINCT FROM (SELECT currency FROM billing_pricebook WHERE id = NEW.book_id) THEN
            RAISE EXCEPTION 'a contract has the currency of its book'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'contract_in_currency_of_book';
        END IF;
        IF NEW.starts_on < earliest AND EXISTS (SELECT FROM billing_contract WHERE tenant_id = NEW.tenant_id) THEN
            RAISE EXCEPTION 'contracts never start in the past' USING ERRCODE = 'check_violation', CONSTRAINT = 'contract_starts_ahead';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.starts_on >= earliest THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'DELETE' OR (to_jsonb(NEW) - 'ends_on') IS DISTINCT FROM (to_jsonb(OLD) - 'ends_on')
        OR OLD.ends_on < earliest OR NEW.ends_on < earliest THEN
        RAISE EXCEPTION 'a contract that has begun takes an end ahead of now, and nothing else'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE INSERT OR UPDATE OR DELETE ON billing_contract FOR EACH ROW EXECUTE FUNCTION billing_keep_contract();
"""
NAMED = f"SELECT c.book_id FROM billing_contract c WHERE c.tenant_id = {rls.TENANT}"  # noqa: S608 (a constant)
VISIBLE = {
    "billing_pricebook": f"id IN ({NAMED})",
    "billing_priceversion": f"book_id IN ({NAMED})",
    "billing_price": "version_id IN (SELECT v.id FROM billing_priceversion v)",
}
# Of usage the console gets sums by tenant, meter and those dimensions that a price list names.
SUMS = """
CREATE POLICY lookup_rows ON billing_meter FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON billing_usagerollup FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON billing_usageseries FOR SELECT TO exchequer_owner USING (true);
CREATE FUNCTION billing_sums_of_month(organisations uuid[], month date, named jsonb)
RETURNS TABLE (tenant_id uuid, meter text, dims jsonb, quantity numeric, amount numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT r.tenant_id, m.key::text, d.dims, sum(CASE WHEN r.price_id IS NULL THEN r.measured ELSE r.billable END), sum(r.amount)
   FROM billing_usagerollup r
   JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id
   JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
   CROSS JOIN LATERAL (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') AS dims FROM jsonb_each(s.dims) e
                       WHERE named -> e.key @> e.value) d
   WHERE r.tenant_id = ANY (organisations) AND r.period = month AND r.day >= month AND r.day < month + interval '1 month'
   GROUP BY 1, 2, 3 $$;
REVOKE ALL ON FUNCTION billing_sums_of_month(uuid[], date, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_sums_of_month(uuid[], date, jsonb) TO exchequer_operator;
"""
# Tenants publish no prices any more. Who could may still define meters.
PERMISSIONS = """
UPDATE tenants_role SET permissions = array_replace(permissions, 'pricebooks.manage', 'meters.manage')
WHERE 'pricebooks.manage' = ANY (permissions);
UPDATE tenants_apikey SET scopes = array_replace(scopes, 'pricebooks.manage', 'meters.manage')
WHERE 'pricebooks.manage' = ANY (scopes);
"""


def locks() -> str:
    """Return the statements that show a tenant its contracts' books, and let operators write them."""
    statements = ["CREATE POLICY operator_rows ON billing_contract FOR SELECT TO exchequer_operator USING (true)"]
    for table, visible in VISIBLE.items():
        lock = "SELECT, INSERT, UPDATE" if table == "billing_pricebook" else "SELECT, INSERT"
        statements += [
            f"CREATE POLICY contract_rows ON {table} FOR SELECT TO exchequer_app USING ({visible})",
            f"CREATE POLICY operator_rows ON {table} TO exchequer_operator USING (true) WITH CHECK (true)",
            f"CREATE POLICY control_rows ON {table} TO exchequer_control USING (true) WITH CHECK (true)",
            *rls.grant_sql(table, app="SELECT", control=lock, operator=lock),
        ]
    return ";".join(statements)
