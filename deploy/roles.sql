-- The four roles of Exchequer (and four that nobody logs in as), and who may do what with one database.
--
-- Run once as an administrator inside the (empty) database, then give each role a password:
--     createdb exchequer && psql exchequer -f deploy/roles.sql
--     psql exchequer -c '\password exchequer_owner'      (and exchequer_app, exchequer_control, exchequer_operator)
-- Running it again changes nothing; after an upgrade it adds what is new. The embedded server of `make up` and the tests run this very file.
--
--   exchequer_owner    owns the tables; only migrations log in as it (DATABASE_OWNER_URL)
--   exchequer_app      the web and usage servers; sees one tenant at a time (DATABASE_URL)
--   exchequer_control  controller, ops worker, commands; a listed set of tables across tenants (DATABASE_CONTROL_URL)
--   exchequer_operator the operators' console; operators' accounts, and what a seller may read of tenants (DATABASE_OPERATOR_URL)
--   exchequer_node     the group of the nodes' own logins (exchequer_node_…): each sees a tenant only while it works for it
--   exchequer_serving  the group of the serving nodes' own logins, named alike: each sees a tenant only while it serves an endpoint of it
--   exchequer_registrar makes and ends these logins, by the two functions at the end of this file and by nothing else
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

    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchequer_node') THEN
        CREATE ROLE exchequer_node NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchequer_registrar') THEN
        CREATE ROLE exchequer_registrar NOLOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = 'exchequer_node'::regrole
                   AND m.member = 'exchequer_registrar'::regrole) THEN
        GRANT exchequer_node TO exchequer_registrar WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exchequer_serving') THEN
        CREATE ROLE exchequer_serving NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = 'exchequer_serving'::regrole
                   AND m.member = 'exchequer_registrar'::regrole) THEN
        GRANT exchequer_serving TO exchequer_registrar WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
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
        EXECUTE format('GRANT exchequer_owner, exchequer_registrar TO %I', current_user);
    END IF;

    EXECUTE format('ALTER DATABASE %I OWNER TO exchequer_owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO exchequer_app, exchequer_control, exchequer_operator, exchequer_node, exchequer_serving', current_database());
    ALTER SCHEMA public OWNER TO exchequer_owner;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO exchequer_app, exchequer_control, exchequer_operator, exchequer_glass, exchequer_node, exchequer_serving;
    CREATE SCHEMA IF NOT EXISTS exchequer_roles AUTHORIZATION exchequer_registrar;
    REVOKE ALL ON SCHEMA exchequer_roles FROM PUBLIC;
    GRANT USAGE ON SCHEMA exchequer_roles TO exchequer_owner;

    -- No policy binds a large object: any session of a role reads it, whatever its tenant. And a role that owns one owns a
    -- part of the database, so that no process starts with it. Only a superuser can take the functions away.
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
    END IF;
END
$roles$;

-- Only the tables' owner calls them, in functions that first check who asks. They take a verifier and no password, so that
-- no log shows one. A login is named after its node: what a session sees follows from its name, and nothing can be claimed.
CREATE OR REPLACE FUNCTION exchequer_roles.admit_node(node uuid, verifier text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $admit$
DECLARE
    login text := 'exchequer_node_' || replace(node::text, '-', '');
BEGIN
    IF node IS NULL OR verifier IS NULL OR verifier !~ '^SCRAM-SHA-256[$][0-9]+:[A-Za-z0-9+/=]+[$][A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$' THEN
        RAISE EXCEPTION 'a node needs an id and a SCRAM-SHA-256 verifier' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', login);
        -- To end its sessions one must have its rights; the registrar has none that it would gain.
        EXECUTE format('GRANT %I TO exchequer_registrar WITH INHERIT TRUE, SET FALSE', login);
    END IF;
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', login, '30s');
    EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', login, '10s');
    -- A node that is stopped or cut off within a transaction keeps its jobs locked for so long: nobody can recover them before.
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', login, '15s');
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', login, verifier);
    EXECUTE format('GRANT exchequer_node TO %I WITH INHERIT TRUE, SET FALSE', login);
    IF pg_has_role(login, 'exchequer_serving', 'MEMBER') THEN
        EXECUTE format('REVOKE exchequer_serving FROM %I', login);
    END IF;
    RETURN login;
END $admit$;

-- The login of a serving node, which runs no attempt: in the other group.
CREATE OR REPLACE FUNCTION exchequer_roles.admit_serving(node uuid, verifier text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $serving$
DECLARE
    login text := exchequer_roles.admit_node(node, verifier);
BEGIN
    EXECUTE format('REVOKE exchequer_node FROM %I', login);
    EXECUTE format('GRANT exchequer_serving TO %I WITH INHERIT TRUE, SET FALSE', login);
    RETURN login;
END $serving$;

-- At once: it may not log in, has no rights in sessions that are open, and these end.
CREATE OR REPLACE FUNCTION exchequer_roles.end_node(node uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $end$
DECLARE
    login text := 'exchequer_node_' || replace(node::text, '-', '');
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
        EXECUTE format('ALTER ROLE %I NOLOGIN PASSWORD NULL', login);
        EXECUTE format('REVOKE exchequer_node, exchequer_serving FROM %I', login);
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = login AND pid <> pg_backend_pid();
    END IF;
END $end$;

ALTER FUNCTION exchequer_roles.admit_node(uuid, text) OWNER TO exchequer_registrar;
ALTER FUNCTION exchequer_roles.admit_serving(uuid, text) OWNER TO exchequer_registrar;
ALTER FUNCTION exchequer_roles.end_node(uuid) OWNER TO exchequer_registrar;
REVOKE ALL ON FUNCTION exchequer_roles.admit_node(uuid, text), exchequer_roles.admit_serving(uuid, text), exchequer_roles.end_node(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_roles.admit_node(uuid, text), exchequer_roles.admit_serving(uuid, text), exchequer_roles.end_node(uuid) TO exchequer_owner;
