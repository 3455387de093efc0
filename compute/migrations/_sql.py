"""SQL that the first migration runs: final states stay final, whoever asks."""

FINAL = """
CREATE FUNCTION compute_job_stays_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('succeeded', 'failed', 'cancelled') AND (NEW.state, NEW.cause, NEW.ended_at) IS DISTINCT FROM (OLD.state, OLD.cause, OLD.ended_at) THEN
        RAISE EXCEPTION 'job % is % for ever', OLD.id, OLD.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.token < OLD.token THEN
        RAISE EXCEPTION 'the token of job % only grows', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stays_final BEFORE UPDATE ON compute_job FOR EACH ROW EXECUTE FUNCTION compute_job_stays_final();

CREATE FUNCTION compute_attempt_stays_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'ended' THEN
        RAISE EXCEPTION 'attempt % has ended', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stays_ended BEFORE UPDATE ON compute_attempt FOR EACH ROW EXECUTE FUNCTION compute_attempt_stays_ended();
"""

NO_FINAL = """
DROP FUNCTION compute_job_stays_final() CASCADE;
DROP FUNCTION compute_attempt_stays_ended() CASCADE;
"""

TAKEN = """
CREATE FUNCTION compute_attempt_takes_its_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM compute_device WHERE id = NEW.device_id AND taken_by = NEW.id) THEN
        RAISE EXCEPTION 'attempt % has not taken device %', NEW.id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER takes_its_device BEFORE INSERT ON compute_attempt
    FOR EACH ROW EXECUTE FUNCTION compute_attempt_takes_its_device();
"""

NO_TAKEN = "DROP FUNCTION compute_attempt_takes_its_device() CASCADE"
