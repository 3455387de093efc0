"""What is seen of running work leaves by partition: samples by the day, log lines and metrics by the month.

The partitions follow the time-ordered id that each row carries in its unique key (of its attempt or its job), so
that "stored once" stays a matter of one index. What a sample says of an hour stays in `compute_devicehour`.
"""

import django.db.models.deletion
from django.db import migrations, models

import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable, secure_sql

TABLES = ("compute_devicesample", "compute_joblog", "compute_jobmetric")
#: Of each table: the column that it is cut by, its unique key, and the tables that its rows refer to.
CUT_BY = {"compute_devicesample": "attempt_id", "compute_joblog": "job_id", "compute_jobmetric": "job_id"}
ONCE = {
    "compute_devicesample": "CONSTRAINT compute_sample_once UNIQUE (tenant_id, attempt_id, number)",
    "compute_joblog": "CONSTRAINT compute_log_line_once UNIQUE (tenant_id, job_id, position)",
    "compute_jobmetric": "CONSTRAINT compute_metric_step_once UNIQUE (tenant_id, job_id, step, token)",
}
REFERS_TO = {"compute_devicesample": ("attempt", "job"), "compute_joblog": ("job",), "compute_jobmetric": ("job",)}


def make_partitioned(table: str) -> list[str]:
    """Return the statements that put an empty partitioned table in a table's place; its rows wait in `moved_TABLE`."""
    return [
        f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
        f"CREATE TEMPORARY TABLE moved_{table} ON COMMIT DROP AS SELECT * FROM {table}",  # noqa: S608
        f"CREATE TABLE {table}_new (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
        f"PARTITION BY RANGE ({CUT_BY[table]})",
        f"DROP TABLE {table}",
        f"ALTER TABLE {table}_new RENAME TO {table}",
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY (id, {CUT_BY[table]})",
        f"ALTER TABLE {table} ADD {ONCE[table]}",
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_tenant FOREIGN KEY (tenant_id) REFERENCES tenants_tenant (id) "
        "DEFERRABLE INITIALLY DEFERRED",
        *(
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_{target}_id_same_tenant FOREIGN KEY (tenant_id, {target}_id) "
            f"REFERENCES compute_{target} (tenant_id, id) DEFERRABLE INITIALLY DEFERRED"
            for target in REFERS_TO[table]
        ),
        f"CREATE TABLE {table}_other PARTITION OF {table} DEFAULT",
    ]


SAMPLES = [
    "ALTER TABLE compute_devicesample ADD CONSTRAINT compute_devicesample_device FOREIGN KEY (device_id) "
    "REFERENCES compute_device (id) DEFERRABLE INITIALLY DEFERRED",
    "CREATE INDEX compute_sample_by_time ON compute_devicesample (tenant_id, at)",
    """
    INSERT INTO compute_devicehour (id, tenant_id, attempt_id, hour, sampled_s, used_s, peak_memory_bytes)
    SELECT gen_random_uuid(), tenant_id, attempt_id, date_trunc('hour', at, 'UTC'), sum(seconds), sum(seconds * busy),
           max(memory_bytes)
    FROM moved_compute_devicesample GROUP BY tenant_id, attempt_id, date_trunc('hour', at, 'UTC')
    """,
]


def fill(table: str) -> list[str]:
    """Return the statements that bring the rows back and lock the table as it was."""
    return [
        f"INSERT INTO {table} SELECT * FROM moved_{table}",  # noqa: S608
        # A table whose references are still to be checked cannot be altered.
        "SET CONSTRAINTS ALL IMMEDIATE",
        "SET CONSTRAINTS ALL DEFERRED",
        *secure_sql(table, control=False, app="SELECT, INSERT"),
        *secure_sql(f"{table}_before", control=False, app="", control_grants=""),
        *secure_sql(f"{table}_other", control=False, app="", control_grants=""),
    ]


FUNCTIONS = r"""
CREATE FUNCTION compute_first_id(moment timestamptz) RETURNS uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
CREATE FUNCTION compute_ensure_partitions(ahead interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    cut record;
    start timestamptz;
    until timestamptz;
    name text;
    made integer := 0;
BEGIN
    IF ahead > interval '1 year' THEN
        RAISE EXCEPTION 'partitions for more than a year ahead were asked for';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('compute_partitions'));
    -- A partition takes on the references of its parent, which locks what they refer to: first and in the order of a
    -- heartbeat, and never waiting as long as others do until a deadlock is looked for.
    BEGIN
        LOCK TABLE compute_attempt, compute_job, compute_device, tenants_tenant IN SHARE ROW EXCLUSIVE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RETURN 0;
    END;
    FOR cut IN SELECT * FROM (VALUES
        ('compute_devicesample', 'day', interval '1 day', 'YYYY_MM_DD'),
        ('compute_joblog', 'month', interval '1 month', 'YYYY_MM'),
        ('compute_jobmetric', 'month', interval '1 month', 'YYYY_MM')) AS t (parent, unit, length, pattern)
    LOOP
        -- Ids carry the clock of the process that made them, not the database's demo clock.
        until := date_trunc(cut.unit, clock_timestamp(), 'UTC');
        WHILE until <= clock_timestamp() + ahead LOOP
            start := until;
            until := (start AT TIME ZONE 'UTC' + cut.length) AT TIME ZONE 'UTC';
            name := format('%s_%s', cut.parent, to_char(start AT TIME ZONE 'UTC', cut.pattern));
            CONTINUE WHEN to_regclass(name) IS NOT NULL;
            BEGIN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    name, cut.parent, compute_first_id(start), compute_first_id(until));
                EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, exchequer_app, exchequer_control', name);
                EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
                EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
                EXECUTE format(
                    'CREATE POLICY tenant_rows ON %I TO exchequer_app, exchequer_control '
                    'USING (tenant_id = (SELECT nullif(current_setting(''app.tenant'', true), '''')::uuid)) '
                    'WITH CHECK (tenant_id = (SELECT nullif(current_setting(''app.tenant'', true), '''')::uuid))', name);
                made := made + 1;
            EXCEPTION WHEN check_violation OR lock_not_available THEN
                -- Rows of this time lie in the default partition already, where age removes them as well; or
                -- somebody holds the table, and the next tick tries again.
                NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
CREATE FUNCTION compute_drop_partitions(parent text, kept interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    cutoff timestamptz := exchequer_now() - kept;
    part name;
    held boolean;
    gone integer := 0;
BEGIN
    IF parent NOT IN ('compute_devicesample', 'compute_joblog', 'compute_jobmetric') OR kept < interval '7 days' THEN
        RAISE EXCEPTION 'nothing of % may be dropped after %', parent, kept;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('compute_partitions'));
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent::regclass AND (c.relname = parent || '_other' OR
            substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([0-9a-f-]+)''\)')::uuid
                <= compute_first_id(cutoff))
        ORDER BY c.relname
    LOOP
        BEGIN
            -- The owner sees the rows only while row security is not forced; the lock lasts to the end.
            EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', part);
            IF part = parent || '_other' THEN
                EXECUTE format('DELETE FROM %I WHERE at < %L', part, cutoff);
            ELSE
                -- A job that was long paused may still write where it began.
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE at >= %L)', part, cutoff) INTO held;
                IF NOT held THEN
                    EXECUTE format('TRUNCATE %I', part);
                    BEGIN
                        LOCK TABLE compute_attempt, compute_job, compute_device, tenants_tenant IN ACCESS EXCLUSIVE MODE;
                        EXECUTE format('DROP TABLE %I', part);
                        gone := gone + 1;
                        CONTINUE;
                    EXCEPTION WHEN lock_not_available THEN
                        -- It is empty; the table itself goes when the moment is quieter.
                        NULL;
                    END;
                END IF;
            END IF;
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part);
        EXCEPTION WHEN lock_not_available THEN
            -- Somebody reads for long: the next tick tries again, and nobody queues behind us.
            NULL;
        END;
    END LOOP;
    RETURN gone;
END $$;
REVOKE ALL ON FUNCTION compute_ensure_partitions(interval), compute_drop_partitions(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_ensure_partitions(interval), compute_drop_partitions(text, interval)
    TO exchequer_control;
SELECT compute_ensure_partitions(interval '0');
DO $$
DECLARE
    cut record;
BEGIN
    -- What was seen before leaves as a whole, like any partition; the default one stays empty and quick to look through.
    FOR cut IN SELECT * FROM (VALUES ('compute_devicesample', 'day'), ('compute_joblog', 'month'), ('compute_jobmetric', 'month'))
        AS t (parent, unit)
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (MINVALUE) TO (%L)', cut.parent || '_before', cut.parent,
            compute_first_id(date_trunc(cut.unit, clock_timestamp(), 'UTC')));
    END LOOP;
END $$;
"""
NO_FUNCTIONS = (
    "DROP FUNCTION compute_ensure_partitions(interval), compute_drop_partitions(text, interval), "
    "compute_first_id(timestamptz)"
)


def statements(*groups: list[str]) -> migrations.RunSQL:
    """Run statements one by one; none of them is undone."""
    return migrations.RunSQL([(statement, None) for group in groups for statement in group], migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("compute", "0004_learnt_runs_and_slot_seconds")]

    operations = [
        migrations.CreateModel(
            name="DeviceHour",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("hour", models.DateTimeField()),
                ("sampled_s", models.FloatField()),
                ("used_s", models.FloatField()),
                ("peak_memory_bytes", models.BigIntegerField()),
                (
                    "attempt",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="compute.attempt",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={"base_manager_name": "objects"},
        ),
        migrations.AddConstraint(
            model_name="devicehour",
            constraint=models.UniqueConstraint(fields=("tenant", "attempt", "hour"), name="compute_hour_once"),
        ),
        statements(*(make_partitioned(table) for table in TABLES), SAMPLES),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        statements(*(fill(table) for table in TABLES)),
        SecureTable("DeviceHour", app="SELECT, INSERT, UPDATE"),
    ]
