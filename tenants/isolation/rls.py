"""The second mechanism of tenant isolation: migration operations for row-level security.

Put `SecureTable` for a tenant's table, `GrantTable` for any other, after the model in the same migration. Facts behind
the design (measured on PostgreSQL 18): without FORCE the owner sees all; after one `SET LOCAL` the setting is an empty
string, not NULL; a plain foreign key lets one tenant reference another's row.
"""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.models import Model

from tenants.isolation.scoping import TenantForeignKey

APP, CONTROL, OPERATOR = "exchequer_app", "exchequer_control", "exchequer_operator"
#: As which the web process answers an operator who looks inside a tenant.
GLASS = "exchequer_glass"
#: The group of the nodes' own logins.
NODE = "exchequer_node"
#: The group of the serving nodes' own logins.
SERVING = "exchequer_serving"
ALL = "SELECT, INSERT, UPDATE, DELETE"
TENANT = "(SELECT nullif(current_setting('app.tenant', true), '')::uuid)"


def secure_sql(
    table: str,
    *,
    control: bool,
    app: str = ALL,
    control_grants: str = ALL,
    operator: str = "",
    column: str = "tenant_id",
) -> list[str]:
    """Return the statements that secure one table: forced policies with USING and WITH CHECK, and its grants."""
    same = f"{column} = {TENANT}"
    roles = ", ".join((APP, CONTROL, OPERATOR) if operator else (APP, CONTROL))
    statements = [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY tenant_rows ON {table} TO {roles} USING ({same}) WITH CHECK ({same})",
        *grant_sql(table, app=app, control=control_grants, operator=operator),
    ]
    if control:
        statements.append(f"CREATE POLICY control_rows ON {table} TO {CONTROL} USING (true) WITH CHECK (true)")
    return statements


def grant_sql(table: str, *, app: str, control: str, operator: str = "") -> list[str]:
    """Return the statements that give each run-time role exactly these rights on a table."""
    statements = [f"REVOKE ALL ON {table} FROM PUBLIC, {APP}, {CONTROL}, {OPERATOR}"]
    rights = {APP: app, CONTROL: control, OPERATOR: operator}
    return statements + [f"GRANT {given} ON {table} TO {role}" for role, given in rights.items() if given]


def glass_sql(*tables: str, columns: str = "") -> str:
    """Return the statements by which an operator who looks inside a tenant reads these tables of it, while they may.

    `columns`: those alone, as `id, name`.
    """
    read = f"SELECT ({columns})" if columns else "SELECT"
    return "".join(
        f"CREATE POLICY glass_rows ON {table} FOR SELECT TO {GLASS} USING (tenant_id = (SELECT exchequer_glass_tenant()));"
        f"GRANT {read} ON {table} TO {GLASS};"
        for table in tables
    )


def node_sql(**tables: tuple[str, str]) -> str:
    """Return the statements by which a node uses these tables of a tenant, while it works for that tenant.

    Each table has its rights, as GRANT names them, and what else must be so of a row, if anything.
    """
    same = "tenant_id = (SELECT exchequer_node_tenant())"
    found = ""
    for table, (rights, also) in tables.items():
        rows = f"{same} AND {also}" if also else same
        found += f"CREATE POLICY node_rows ON {table} TO {NODE} USING ({rows}) WITH CHECK ({rows});GRANT {rights} ON {table} TO {NODE};"
    return found


def serving_sql(**tables: tuple[str, str]) -> str:
    """Return the statements by which a serving node uses these tables of a tenant, while it serves an endpoint of it; as `node_sql`."""
    same = "tenant_id = (SELECT exchequer_serving_tenant())"
    found = ""
    for table, (rights, also) in tables.items():
        rows = f"{same} AND {also}" if also else same
        found += f"CREATE POLICY serving_rows ON {table} TO {SERVING} USING ({rows}) WITH CHECK ({rows});GRANT {rights} ON {table} TO {SERVING};"
    return found


class TableOperation(Operation):
    """A migration operation on one model's table that does not change Django's state."""

    reversible = True
    atomic = True

    def __init__(self, model_name: str, **options: Any) -> None:
        self.model_name = model_name
        self.options = options

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Serialise the operation for a migration."""
        return type(self).__name__, [self.model_name], self.options

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Leave the state as it is: row-level security is not part of the models."""

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Leave the database as it is: the table is dropped with its model."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        """Run this operation's statements."""
        model = to_state.apps.get_model(app_label, self.model_name)
        for statement in self.statements(model):
            schema_editor.execute(statement)

    def statements(self, model: type[Model]) -> list[str]:
        """Return the SQL for one model."""
        raise TypeError(f"{type(self).__name__} does not say what to run.")


class SecureTable(TableOperation):
    """Secure a tenant's table and bind its references to the same tenant.

    Options: `control` (the control role sees every tenant's rows), `app`, `control_grants` and `operator` (rights by role;
    the console's within one tenant).
    """

    def statements(self, model: type[Model]) -> list[str]:
        """Return policies, grants, the composite key and the composite references."""
        options = {"control": False, **self.options}
        table = model._meta.db_table
        statements = secure_sql(table, **options)
        if model._meta.pk.column == "id":
            statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {table}_tenant_row UNIQUE (tenant_id, id)")
        for field in model._meta.local_fields:
            if isinstance(field, TenantForeignKey):
                statements.append(composite_key_sql(table, field.column, field.remote_field.model._meta.db_table))
        return statements


def composite_key_sql(table: str, column: str, target: str) -> str:
    """Return the reference (tenant_id, column) -> target (tenant_id, id), checked at commit."""
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_same_tenant FOREIGN KEY (tenant_id, {column}) "
        f"REFERENCES {target} (tenant_id, id) DEFERRABLE INITIALLY DEFERRED"
    )


class GrantTable(TableOperation):
    """Give the run-time roles rights on a table without tenant. Options: `app`, `control`, `operator`."""

    def statements(self, model: type[Model]) -> list[str]:
        """Return the grants."""
        return grant_sql(model._meta.db_table, **{"app": "", "control": "", **self.options})
