"""The ledger balances with each statement: one check of all its rows, where every row had one of its own at commit."""

from django.db import migrations

BALANCES = """
DROP TRIGGER balances ON billing_ledgerposting;
CREATE OR REPLACE FUNCTION billing_ledger_balances() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    fault record;
BEGIN
    SELECT transaction_id, currency, sum(amount) AS total INTO fault FROM stored
        GROUP BY tenant_id, transaction_id, currency HAVING sum(amount) <> 0 LIMIT 1;
    IF fault.currency IS NOT NULL THEN
        RAISE EXCEPTION 'ledger transaction % does not balance: % %', fault.transaction_id, fault.total, fault.currency
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balances';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER balances AFTER INSERT ON billing_ledgerposting REFERENCING NEW TABLE AS stored
    FOR EACH STATEMENT EXECUTE FUNCTION billing_ledger_balances();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0026_disputes")]

    operations = [migrations.RunSQL(BALANCES, migrations.RunSQL.noop)]
