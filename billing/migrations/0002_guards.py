"""What the database itself refuses: foreign tenants, edited prices, unsound usage, unbalanced postings."""

from django.db import migrations

from tenants.isolation.rls import SecureTable, secure_sql

READ_AND_ADD = "SELECT, INSERT"
CHANGE = "SELECT, INSERT, UPDATE"
EVENT_COLUMNS = (
    "tenant_id, series_hash, started_at, key_hash, part, ended_at, kind, period, day, "
    "meter_id, project_id, price_id, hold_id, measured, billable, amount"
)
# recorded_at is not granted: it is always the database's own time.
EVENT_GRANTS = f"SELECT, INSERT ({EVENT_COLUMNS})"


def secured(model: str, grants: str) -> SecureTable:
    return SecureTable(model, app=grants, control_grants=grants)


USAGE_EVENT = """
CREATE TABLE billing_usageevent (
    tenant_id uuid NOT NULL,
    series_hash bytea NOT NULL,
    started_at timestamptz NOT NULL,
    key_hash bytea NOT NULL,
    part smallint NOT NULL CHECK (part >= 0),
    ended_at timestamptz NOT NULL,
    kind varchar(6) NOT NULL DEFAULT 'usage' CHECK (kind IN ('usage', 'waiver')),
    period date NOT NULL CHECK (extract(day FROM period) = 1),
    day date NOT NULL CHECK (date_trunc('month', day::timestamp) = period::timestamp),
    meter_id uuid NOT NULL,
    project_id uuid NOT NULL,
    price_id uuid,
    hold_id uuid,
    measured numeric(38, 12) NOT NULL,
    billable numeric(38, 12) NOT NULL,
    amount numeric(38, 12) NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT exchequer_now(),
    PRIMARY KEY (tenant_id, series_hash, started_at, key_hash, part),
    CONSTRAINT usage_is_real CHECK (
        measured < 'Infinity' AND billable < 'Infinity' AND amount < 'Infinity'
        AND measured > '-Infinity' AND billable > '-Infinity' AND amount > '-Infinity'
    ),
    CONSTRAINT usage_interval_is_sound CHECK (
        ended_at > started_at AND ended_at - started_at <= interval '24 hours'
        AND ended_at <= recorded_at + interval '5 minutes'
    ),
    CONSTRAINT usage_is_positive CHECK (
        kind <> 'usage' OR (measured > 0 AND billable >= 0 AND billable <= measured AND amount >= 0)
    ),
    CONSTRAINT waiver_only_takes_away CHECK (
        kind <> 'waiver' OR (measured = 0 AND billable <= 0 AND amount <= 0)
    ),
    CONSTRAINT usage_charge_has_a_price CHECK (price_id IS NOT NULL OR amount = 0)
) PARTITION BY RANGE (started_at);
CREATE TABLE billing_usageevent_other PARTITION OF billing_usageevent DEFAULT;
"""

PARTITIONS = """
CREATE FUNCTION billing_ensure_partitions(first_month date, last_month date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    month date := date_trunc('month', first_month);
    name text;
    made integer := 0;
BEGIN
    IF last_month > month + interval '40 years' THEN
        RAISE EXCEPTION 'partitions for more than 40 years were asked for';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('billing_usageevent'));
    WHILE month <= last_month LOOP
        name := format('billing_usageevent_%s', to_char(month, 'YYYY_MM'));
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE billing_usageevent INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
            EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, exchequer_app, exchequer_control', name);
            -- Rows that came before their month had a partition move out of the default one. The owner sees
            -- them only while row security is not forced; the exclusive lock lasts to the end of the transaction.
            ALTER TABLE billing_usageevent_other NO FORCE ROW LEVEL SECURITY;
            EXECUTE format(
                'WITH moved AS (DELETE FROM billing_usageevent_other '
                'WHERE started_at >= %1$L AND started_at < %2$L RETURNING *) INSERT INTO %3$I SELECT * FROM moved',
                month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC', name);
            ALTER TABLE billing_usageevent_other FORCE ROW LEVEL SECURITY;
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
            EXECUTE format(
                'CREATE POLICY tenant_rows ON %I TO exchequer_app, exchequer_control '
                'USING (tenant_id = (SELECT nullif(current_setting(''app.tenant'', true), '''')::uuid)) '
                'WITH CHECK (tenant_id = (SELECT nullif(current_setting(''app.tenant'', true), '''')::uuid))', name);
            EXECUTE format(
                'ALTER TABLE billing_usageevent ATTACH PARTITION %1$I FOR VALUES FROM (%2$L) TO (%3$L)',
                name, month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
            made := made + 1;
        END IF;
        month := month + interval '1 month';
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION billing_ensure_partitions(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_ensure_partitions(date, date) TO exchequer_control;
SELECT billing_ensure_partitions((exchequer_now() - interval '1 month')::date, (exchequer_now() + interval '2 months')::date);
"""

USAGE_REFERENCES = """
ALTER TABLE billing_usagekey ADD CONSTRAINT usage_key_hashes CHECK (octet_length(key_hash) = 16 AND octet_length(payload_hash) = 16);
-- Room on each page, so that a sum grows in place and no index is touched.
ALTER TABLE billing_usagerollup SET (fillfactor = 60);
ALTER TABLE billing_budgetperiod SET (fillfactor = 50);
ALTER TABLE billing_hold SET (fillfactor = 60);
ALTER TABLE billing_usagerollup
    ADD CONSTRAINT billing_usagerollup_series_same_tenant FOREIGN KEY (tenant_id, series_hash)
    REFERENCES billing_usageseries (tenant_id, hash) DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT rollup_is_real CHECK (
        measured >= 0 AND measured < 'Infinity' AND billable >= 0 AND billable <= measured
        AND amount >= 0 AND amount < 'Infinity' AND events > 0
    );
ALTER TABLE billing_ledgerposting ADD CONSTRAINT posting_is_real CHECK (amount > '-Infinity' AND amount < 'Infinity' AND amount <> 0);
"""

APPEND_ONLY = """
CREATE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_price FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_priceversion FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_ledgertransaction FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_ledgerposting FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_usagekey FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_usageseries FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
-- Not on DELETE: rows move from the default partition, and whole months may be detached.
CREATE TRIGGER append_only BEFORE UPDATE ON billing_usageevent FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""

PRICES = """
ALTER TABLE billing_priceversion ADD COLUMN published_in xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE FUNCTION billing_publish_prices() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    earliest timestamptz := exchequer_now();
BEGIN
    NEW.published_in := pg_current_xact_id();
    NEW.published_at := earliest;
    IF EXISTS (SELECT FROM billing_priceversion WHERE tenant_id = NEW.tenant_id AND book_id = NEW.book_id) THEN
        earliest := earliest + interval '5 minutes';
    END IF;
    NEW.effective_at := coalesce(NEW.effective_at, earliest);
    IF NEW.effective_at < earliest THEN
        RAISE EXCEPTION 'prices never start in the past: % is before %', NEW.effective_at, earliest
            USING ERRCODE = 'check_violation', CONSTRAINT = 'price_starts_ahead';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER publish BEFORE INSERT ON billing_priceversion FOR EACH ROW EXECUTE FUNCTION billing_publish_prices();
CREATE FUNCTION billing_seal_version() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM billing_priceversion
        WHERE tenant_id = NEW.tenant_id AND id = NEW.version_id AND published_in = pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'a published version takes no more prices' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER seal BEFORE INSERT ON billing_price FOR EACH ROW EXECUTE FUNCTION billing_seal_version();
"""

LEDGER = """
-- Its plan is kept for the session and may be made while the table is nearly empty: it must use the index all the same.
CREATE FUNCTION billing_ledger_balances() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    scope text := current_setting('app.tenant', true);
    fault record;
BEGIN
    -- The check runs at commit, when the scope that wrote the row may be closed: look with the row's own tenant.
    PERFORM set_config('app.tenant', NEW.tenant_id::text, true);
    SELECT currency, sum(amount) AS total INTO fault FROM billing_ledgerposting
        WHERE tenant_id = NEW.tenant_id AND transaction_id = NEW.transaction_id
        GROUP BY currency HAVING sum(amount) <> 0 LIMIT 1;
    PERFORM set_config('app.tenant', coalesce(scope, ''), true);
    IF fault.currency IS NOT NULL THEN
        RAISE EXCEPTION 'ledger transaction % does not balance: % %', NEW.transaction_id, fault.total, fault.currency
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balances';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER balances AFTER INSERT ON billing_ledgerposting DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION billing_ledger_balances();
"""

LOCK_EVENTS = [
    *secure_sql("billing_usageevent", control=False, app=EVENT_GRANTS, control_grants=EVENT_GRANTS),
    *secure_sql("billing_usageevent_other", control=False, app="", control_grants=""),
]


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunSQL(USAGE_EVENT, "DROP TABLE billing_usageevent"),
        migrations.RunSQL([(statement, None) for statement in LOCK_EVENTS], migrations.RunSQL.noop),
        secured("Meter", CHANGE),
        secured("PriceBook", CHANGE),
        secured("PriceVersion", READ_AND_ADD),
        secured("Price", READ_AND_ADD),
        secured("UsageKey", READ_AND_ADD),
        secured("UsageSeries", READ_AND_ADD),
        secured("UsageRollup", CHANGE),
        secured("Budget", CHANGE),
        secured("BudgetPeriod", CHANGE),
        secured("Hold", CHANGE),
        secured("HoldShare", READ_AND_ADD),
        secured("Quote", CHANGE),
        secured("LedgerTransaction", READ_AND_ADD),
        secured("LedgerPosting", READ_AND_ADD),
        secured("Invoice", CHANGE),
        migrations.RunSQL(USAGE_REFERENCES, migrations.RunSQL.noop),
        migrations.RunSQL(APPEND_ONLY, "DROP FUNCTION billing_refuse_change() CASCADE"),
        migrations.RunSQL(
            PRICES, "DROP FUNCTION billing_publish_prices() CASCADE; DROP FUNCTION billing_seal_version() CASCADE"
        ),
        migrations.RunSQL(LEDGER, "DROP FUNCTION billing_ledger_balances() CASCADE"),
        migrations.RunSQL(PARTITIONS, "DROP FUNCTION billing_ensure_partitions(date, date)"),
    ]
