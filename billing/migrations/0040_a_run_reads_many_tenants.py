"""A run of a month reads what the drafts of many tenants are made of, and stores them, with a few statements."""

from django.db import migrations

from tenants.isolation.rls import CONTROL

LOOKED_UP = "".join(
    f"CREATE POLICY lookup_rows ON {table} FOR SELECT TO exchequer_owner USING (true);"
    for table in ("billing_contract", "billing_creditblock", "billing_invoiceline")
)
# The ops worker stores what it found of many tenants by one statement.
STORED = f"CREATE POLICY control_rows ON billing_prepareddraft TO {CONTROL} USING (true) WITH CHECK (true);"
# Each shows the tenants that it is called for, to the ops worker alone. The sums are those of billing_sums_of_lines.
FUNCTIONS = {
    "billing_run_invoices(organisations uuid[], earlier date, month date)": (
        "TABLE (tenant_id uuid, id uuid, period date, currency varchar, state varchar, subtotal numeric, tax numeric, total numeric)",
        """SELECT i.tenant_id, i.id, i.period, i.currency, i.state, i.subtotal, i.tax, i.total FROM billing_invoice i
           WHERE i.tenant_id = ANY (organisations) AND i.kind = 'period' AND i.state <> 'void' AND i.period <= month
             AND (i.period >= earlier OR i.state IN ('draft', 'in_review'))""",
    ),
    "billing_run_contracts(organisations uuid[], month date)": (
        "SETOF billing_contract",
        "SELECT * FROM billing_contract c WHERE c.tenant_id = ANY (organisations) AND c.starts_on <= month",
    ),
    "billing_run_credits(organisations uuid[])": (
        "SETOF billing_creditblock",
        "SELECT * FROM billing_creditblock b WHERE b.tenant_id = ANY (organisations) AND b.remaining > 0",
    ),
    "billing_run_lines(organisations uuid[], invoices uuid[])": (
        "SETOF billing_invoiceline",
        """SELECT l.* FROM unnest(organisations, invoices) AS a (tenant_id, invoice_id)
           JOIN billing_invoiceline l ON l.tenant_id = a.tenant_id AND l.invoice_id = a.invoice_id""",
    ),
    "billing_run_sums(organisations uuid[], months date[], own text[])": (
        """TABLE (tenant_id uuid, period date, project_id uuid, meter_id uuid, meter varchar, meter_title varchar, unit varchar,
           aggregation varchar, price_id uuid, rate_id uuid, outside boolean, origin date, measured numeric, billable numeric,
           amount numeric, discount numeric, events numeric, first_hour timestamptz)""",
        """WITH asked AS (SELECT * FROM unnest(organisations, months) AS a (tenant_id, period)),
           billed AS (
             SELECT r.* FROM asked a JOIN billing_usagerollup r ON r.tenant_id = a.tenant_id AND r.period = a.period
               AND r.day >= a.period AND r.day < a.period + interval '1 month'
             UNION ALL
             SELECT r.* FROM asked a JOIN billing_usagerollup r ON r.tenant_id = a.tenant_id AND r.period = a.period
               AND r.day < r.period
           ),
           sums AS (
             SELECT r.tenant_id, r.period, r.project_id, r.meter_id, r.price_id, r.rate_id, s.source <> ALL (own) AS outside,
               CASE WHEN r.day < r.period THEN date_trunc('month', r.day)::date END AS origin, sum(r.measured) AS measured,
               sum(r.billable) AS billable, sum(r.amount) AS amount, sum(r.discount) AS discount, sum(r.events) AS events,
               min(r.hour) AS first_hour
             FROM billed r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
             GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
           )
           SELECT r.tenant_id, r.period, r.project_id, r.meter_id, m.key, m.title, m.unit, m.aggregation, r.price_id, r.rate_id,
             r.outside, r.origin, r.measured, r.billable, r.amount, r.discount, r.events, r.first_hour
           FROM sums r JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id""",
    ),
}


def _function(signature: str, result: str, body: str) -> str:
    """Return the statements that make a function which only the control role may call."""
    return f"""
CREATE FUNCTION {signature} RETURNS {result} LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ {body} $$;
REVOKE ALL ON FUNCTION {signature} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {signature} TO {CONTROL};
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0039_usage_is_recorded_by_statement")]

    operations = [
        migrations.RunSQL(
            LOOKED_UP + STORED + "".join(_function(name, *parts) for name, parts in FUNCTIONS.items()),
            migrations.RunSQL.noop,
        )
    ]
