"""SQL of migration 0043: a contract may change a tenant's currency, and budgets follow it."""

from billing.migrations._contracts import KEPT as KEPT_BEFORE
from billing.migrations._exchange import _OF_BOOK
from tenants.isolation.rls import APP, CONTROL, OPERATOR, TENANT, glass_sql

_OF_DAY_BEFORE = """billing_currency(NEW.tenant_id, NEW.starts_on - 1)
            AND (NEW.currency_before = '' OR NEW.currency_before = NEW.currency)
            OR NEW.currency_before NOT IN ('', billing_currency(NEW.tenant_id, NEW.starts_on - 1)) THEN
            RAISE EXCEPTION 'a contract has the currency of the day before it, or names the one that it changes'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'contract_in_currency_of_tenant';"""
READ = ("billing_budget", "billing_budgetperiod", "billing_reportlimit", "billing_showbackprice", "tenants_tenant")
# Policies bind the owner, too; without FORCE it may write the rows of every tenant, until the end of this migration.
OPEN, SHUT = (
    "".join(f"ALTER TABLE {table} {word} ROW LEVEL SECURITY;" for table in READ) for word in ("NO FORCE", "FORCE")
)
FILL = f"""
{OPEN}
UPDATE billing_budgetperiod c SET currency = b.currency FROM billing_budget b WHERE b.tenant_id = c.tenant_id AND b.id = c.budget_id;
UPDATE billing_reportlimit l SET currency = t.currency FROM tenants_tenant t WHERE t.id = l.tenant_id;
UPDATE billing_showbackprice p SET currency = t.currency FROM tenants_tenant t WHERE t.id = p.tenant_id;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
{SHUT}
"""  # noqa: S608 (constants)
# A day before the first contract has the currency that this one has, or changes. `billing_restated` is null for an amount
# that was never stated in the wanted currency.
FUNCTIONS = f"""
CREATE FUNCTION billing_currency(organisation uuid, at date) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT coalesce(
     (SELECT c.currency FROM billing_contract c WHERE c.tenant_id = organisation AND c.starts_on <= at ORDER BY c.starts_on DESC LIMIT 1),
     (SELECT coalesce(nullif(c.currency_before, ''), c.currency) FROM billing_contract c WHERE c.tenant_id = organisation
      ORDER BY c.starts_on LIMIT 1),
     (SELECT t.currency FROM tenants_tenant t WHERE t.id = organisation))::text $$;
CREATE FUNCTION billing_restated(organisation uuid, amount numeric, stated text, wanted text) RETURNS numeric LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN stated = wanted THEN amount ELSE coalesce(
     (SELECT round(amount * c.restating_rate, c.restating_decimals) FROM billing_contract c
      WHERE c.tenant_id = organisation AND c.currency_before = stated AND c.currency = wanted ORDER BY c.starts_on DESC LIMIT 1),
     (SELECT round(amount / c.restating_rate, 12) FROM billing_contract c
      WHERE c.tenant_id = organisation AND c.currency_before = wanted AND c.currency = stated ORDER BY c.starts_on DESC LIMIT 1)) END $$;
CREATE POLICY lookup_rows ON billing_budget FOR SELECT TO exchequer_owner USING (true);
CREATE FUNCTION billing_budgets_across(change date) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT count(*) FROM billing_budget b WHERE b.tenant_id = {TENANT} AND b.closed_at IS NULL
   AND date_trunc(b.period, change::timestamp)::date <> change $$;
REVOKE ALL ON FUNCTION billing_budgets_across(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_budgets_across(date) TO {APP}, {CONTROL}, {OPERATOR};
CREATE FUNCTION billing_changes_of_currency() RETURNS TABLE (tenant_id uuid, starts_on date, currency varchar)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT c.tenant_id, c.starts_on, c.currency FROM billing_contract c WHERE c.currency_before <> '' $$;
REVOKE ALL ON FUNCTION billing_changes_of_currency() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_changes_of_currency() TO {CONTROL};
"""  # noqa: S608 (a constant)
# An operator who looks inside a tenant sees of its contracts in which currency it pays: pages need that to know the day's.
LOOKED_AT = glass_sql(
    "billing_contract", columns="tenant_id, starts_on, currency, currency_before, restating_rate, restating_decimals"
)
KEPT = (
    KEPT_BEFORE.replace(_OF_BOOK, _OF_DAY_BEFORE)
    .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    .partition("CREATE TRIGGER")[0]
)
