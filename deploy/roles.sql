-- The four roles of Exchequer (and one that nobody logs in as), and who may do what with one database.
--
-- Run once as an administrator inside the (empty) database, then give each role a password:
--     createdb exchequer && psql exchequer -f deploy/roles.sql
--     psql exchequer -c '\password exchequer_owner'      (and exchequer_app, exchequer_control, exchequer_operator)
-- Running it again changes nothing; after an upgrade it adds what is new. The embedded server of `make up` and the tests run this very file.
--
--   exchequer_owner    owns the tables; only migrations log in as it (DATABASE_OWNER_URL)
--   exchequer_app      web, serving, the parents of attempts; sees one tenant at a time (DATABASE_URL)
--   exchequer_control  controller, ops worker, commands; a listed set of tables across tenants (DATABASE_CONTROL_URL)
--   exchequer_operator the operators' console; operators' accounts, and what a seller may read of tenants (DATABASE_OPERATOR_URL)
--   exchequer_glass    as which the web process answers an operator who looks inside a tenant: reads, while that look lasts
DO $roles$
DECLARE
    role_name text;
    setting text;
    most text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['exchequer_owner', 'exchequer_app', 'exchequer_control', 'exchequer_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', role_name);
        END IF;
    END LOOP;

    -- Nothing logs in as it. The web process steps down to it for one transaction, and gains nothing by being a member.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchequer_glass') THEN
        CREATE ROLE exchequer_glass NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = 'exchequer_glass'::regrole
                   AND m.member = 'exchequer_app'::regrole) THEN
        GRANT exchequer_glass TO exchequer_app WITH INHERIT FALSE, SET TRUE;
    END IF;

    -- How long one statement, a wait for a lock and an idle transaction may take. They belong to the login, so they hold
    -- behind a pooler, which drops what a connection asks for at its start. Nobody waits longer for a page; the
    -- controller's work is on all tenants; a migration takes what it takes. What you chose yourself stays.
    FOR role_name, setting, most IN
        SELECT * FROM (VALUES ('exchequer_app', 'statement_timeout', '30s'),
                              ('exchequer_operator', 'statement_timeout', '30s'),
                              ('exchequer_control', 'statement_timeout', '10min'),
                              ('exchequer_owner', 'statement_timeout', '0')) AS statements
        UNION ALL
        SELECT * FROM unnest(ARRAY['exchequer_owner', 'exchequer_app', 'exchequer_control', 'exchequer_operator']) AS roles,
                      (VALUES ('lock_timeout', '10s'), ('idle_in_transaction_session_timeout', '1min')) AS waits
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles, unnest(rolconfig) AS chosen
                       WHERE rolname = role_name AND starts_with(chosen, setting || '=')) THEN
            EXECUTE format('ALTER ROLE %I SET %I = %L', role_name, setting, most);
        END IF;
    END LOOP;

    -- A managed server's administrator is no superuser: to hand objects over it must be a member.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT exchequer_owner TO %I', current_user);
    END IF;

    EXECUTE format('ALTER DATABASE %I OWNER TO exchequer_owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO exchequer_app, exchequer_control, exchequer_operator', current_database());
    ALTER SCHEMA public OWNER TO exchequer_owner;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO exchequer_app, exchequer_control, exchequer_operator, exchequer_glass;

    -- No policy binds a large object: any session of a role reads it, whatever its tenant. And a role that owns one owns a
    -- part of the database, so that no process starts with it. Only a superuser can take the functions away.
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
    END IF;
END
$roles$;
