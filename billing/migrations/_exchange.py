"""SQL of migration 0031: rates that stay as entered, contracts in the tenant's currency, and sums by rate."""

from billing.migrations._contracts import KEPT as KEPT_BEFORE
from tenants.isolation.rls import APP, CONTROL, OPERATOR, TENANT

# As price versions: the first of a pair may begin at once, a later one at least as far ahead as usage is accepted.
GUARDS = """
CREATE FUNCTION billing_enter_rate() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    earliest timestamptz := exchequer_now();
BEGIN
    NEW.entered_at := earliest;
    PERFORM pg_advisory_xact_lock(hashtextextended('billing.exchange_rates', 0));
    IF EXISTS (SELECT FROM billing_exchangerate WHERE source = NEW.source AND target = NEW.target) THEN
        earliest := earliest + interval '5 minutes';
    END IF;
    NEW.valid_from := coalesce(NEW.valid_from, earliest);
    IF NEW.valid_from < earliest THEN
        RAISE EXCEPTION 'exchange rates never begin in the past: % is before %', NEW.valid_from, earliest
            USING ERRCODE = 'check_violation', CONSTRAINT = 'exchange_rate_starts_ahead';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER enter BEFORE INSERT ON billing_exchangerate FOR EACH ROW EXECUTE FUNCTION billing_enter_rate();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_exchangerate FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_usageevent ADD COLUMN rate_id uuid;
GRANT INSERT (rate_id) ON billing_usageevent TO exchequer_app, exchequer_control;
"""
_OF_BOOK = """(SELECT currency FROM billing_pricebook WHERE id = NEW.book_id) THEN
            RAISE EXCEPTION 'a contract has the currency of its book'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'contract_in_currency_of_book';"""
_OF_TENANT = """(SELECT currency FROM tenants_tenant WHERE id = NEW.tenant_id) THEN
            RAISE EXCEPTION 'a contract has the currency of its tenant'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'contract_in_currency_of_tenant';"""
assert _OF_BOOK in KEPT_BEFORE  # noqa: S101 (the function below is that of 0009 with another check)
CONTRACTS = (
    KEPT_BEFORE.replace(_OF_BOOK, _OF_TENANT)
    .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    .partition("CREATE TRIGGER")[0]
)
SUMS = f"""
DROP FUNCTION billing_sums_of_lines(date[], text[]);
CREATE FUNCTION billing_sums_of_lines(months date[], own text[])
RETURNS TABLE (period date, project_id uuid, meter_id uuid, price_id uuid, rate_id uuid, outside boolean, origin date, measured numeric,
  billable numeric, amount numeric, discount numeric, events numeric, first_hour timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ WITH billed AS (
     SELECT * FROM billing_usagerollup r WHERE r.tenant_id = {TENANT} AND r.day >= r.period AND r.period = ANY (months)
       AND r.day >= (SELECT min(m) FROM unnest(months) m) AND r.day < (SELECT max(m) FROM unnest(months) m) + interval '1 month'
     UNION ALL
     SELECT * FROM billing_usagerollup r WHERE r.tenant_id = {TENANT} AND r.day < r.period AND r.period = ANY (months)
   )
   SELECT r.period, r.project_id, r.meter_id, r.price_id, r.rate_id, s.source <> ALL (own),
     CASE WHEN r.day < r.period THEN date_trunc('month', r.day)::date END,
     sum(r.measured), sum(r.billable), sum(r.amount), sum(r.discount), sum(r.events), min(r.hour)
   FROM billed r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
   GROUP BY 1, 2, 3, 4, 5, 6, 7 $$;
REVOKE ALL ON FUNCTION billing_sums_of_lines(date[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_sums_of_lines(date[], text[]) TO {APP}, {CONTROL}, {OPERATOR};
DROP FUNCTION billing_usage_of_month(date, text[], jsonb, boolean);
CREATE FUNCTION billing_usage_of_month(month date, own text[], named jsonb, hourly boolean)
RETURNS TABLE (project_id uuid, meter_id uuid, price_id uuid, rate_id uuid, outside boolean, dims jsonb, hour timestamptz, quantity numeric,
  amount numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT r.project_id, r.meter_id, r.price_id, r.rate_id, s.source <> ALL (own), d.dims, CASE WHEN hourly THEN r.hour END,
     sum(CASE WHEN r.price_id IS NULL THEN r.measured ELSE r.billable END), sum(r.amount)
   FROM billing_usagerollup r
   JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
   CROSS JOIN LATERAL (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{{}}') AS dims FROM jsonb_each(s.dims) e
                       WHERE named -> e.key @> e.value) d
   WHERE r.tenant_id = {TENANT} AND r.period = month AND r.day >= month AND r.day < month + interval '1 month'
   GROUP BY 1, 2, 3, 4, 5, 6, 7 $$;
REVOKE ALL ON FUNCTION billing_usage_of_month(date, text[], jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_usage_of_month(date, text[], jsonb, boolean) TO {APP}, {CONTROL}, {OPERATOR};
"""  # noqa: S608 (constants)
