"""Partitions that have become empty: one refused lock ends the tries to drop them, else each costs half a second."""

from django.db import migrations

NOW = r"""
CREATE OR REPLACE FUNCTION compute_drop_partitions(parent text, kept interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    cutoff timestamptz := exchequer_now() - kept;
    part name;
    held boolean;
    gone integer := 0;
    quiet boolean := true;
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
                    IF quiet THEN BEGIN
                        LOCK TABLE compute_attempt, compute_job, compute_device, tenants_tenant IN ACCESS EXCLUSIVE MODE;
                        EXECUTE format('DROP TABLE %I', part);
                        gone := gone + 1;
                        CONTINUE;
                    EXCEPTION WHEN lock_not_available THEN
                        -- It is empty; it and those after it go when the moment is quieter: each try would hold up writers.
                        quiet := false;
                    END; END IF;
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
"""
BEFORE = r"""
CREATE OR REPLACE FUNCTION compute_drop_partitions(parent text, kept interval) RETURNS integer
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
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0043_looks_read_shares")]

    operations = [migrations.RunSQL(NOW, BEFORE)]
