import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation import rls
from tenants.isolation.scoping import TenantForeignKey

BUILT_IN = ("owner", "admin", "finance", "engineer", "auditor", "viewer")
CHOICES = [(role, role) for role in BUILT_IN]
Q = models.Q

# Each member's role becomes a grant for the whole tenant. The new table has no policy yet, and no reference to check.
ROLES_TO_GRANTS = """
INSERT INTO tenants_grant (id, tenant_id, membership_id, built_in, created_by, created_at)
SELECT uuidv7(), m.tenant_id, m.id, m.role, '', m.created_at FROM tenants_membership m;
"""

# These run with the rights and policies of the caller: they enter a tenant by setting it, and read what it may see there.
# Only the look-ups of ids before (exchequer_tenant_for, exchequer_api_keys) run as the owner.
ENTRANCES = """
CREATE FUNCTION exchequer_grants(member uuid, account uuid) RETURNS jsonb LANGUAGE sql STABLE AS
$$ SELECT coalesce(jsonb_agg(jsonb_build_object(
            'built_in', g.built_in, 'role', r.name, 'permissions', r.permissions, 'project', g.project_id)), '[]')
   FROM (SELECT * FROM tenants_grant WHERE membership_id = member
         UNION ALL SELECT * FROM tenants_grant WHERE service_account_id = account
         UNION ALL SELECT held.* FROM tenants_groupmember place JOIN tenants_grant held ON held.group_id = place.group_id
                   WHERE place.membership_id = member) g
   LEFT JOIN tenants_role r ON r.id = g.role_id
   WHERE g.expires_at IS NULL OR g.expires_at > exchequer_now() $$;

CREATE FUNCTION exchequer_enter_member(person uuid, organisation uuid)
RETURNS TABLE (tenant jsonb, grants jsonb) LANGUAGE plpgsql VOLATILE AS
$$ BEGIN
  PERFORM set_config('app.tenant', coalesce(organisation::text, ''), true);
  RETURN QUERY SELECT to_jsonb(t), exchequer_grants(m.id, NULL)
    FROM tenants_membership m JOIN tenants_tenant t ON t.id = m.tenant_id
    WHERE m.tenant_id = organisation AND m.user_id = person;
  IF NOT FOUND THEN PERFORM set_config('app.tenant', '', true); END IF;
END $$;

CREATE FUNCTION exchequer_only_tenant(person uuid) RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN count(*) = 1 THEN (array_agg(m.tenant_id))[1] END FROM exchequer_memberships(person) m $$;

-- A key has the rights of the member or the service account that it descends from; one that Exchequer made has all.
CREATE FUNCTION exchequer_enter_key(start text, digest bytea)
RETURNS TABLE (tenant jsonb, key_id uuid, key_name text, scopes text[], bounded boolean, grants jsonb)
LANGUAGE plpgsql VOLATILE AS
$$ DECLARE candidate record;
BEGIN
  FOR candidate IN SELECT * FROM exchequer_api_keys(start) LOOP
    PERFORM set_config('app.tenant', candidate.tenant_id::text, true);
    RETURN QUERY SELECT to_jsonb(t), k.id, k.name::text, k.scopes::text[],
        k.membership_id IS NOT NULL OR k.service_account_id IS NOT NULL,
        exchequer_grants(m.id, a.id)
      FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id
      LEFT JOIN tenants_membership m ON m.id = k.membership_id
        AND EXISTS (SELECT FROM tenants_user u WHERE u.id = m.user_id AND u.is_active)
      LEFT JOIN tenants_serviceaccount a ON a.id = k.service_account_id AND a.disabled_at IS NULL
      WHERE k.id = candidate.id AND k.key_hash = digest AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > exchequer_now())
        AND (k.membership_id IS NULL OR m.id IS NOT NULL)
        AND (k.service_account_id IS NULL OR a.id IS NOT NULL);
    IF FOUND THEN RETURN; END IF;
  END LOOP;
  PERFORM set_config('app.tenant', '', true);
END $$;
"""
GONE = """
DROP FUNCTION exchequer_enter_key(text, bytea), exchequer_only_tenant(uuid), exchequer_enter_member(uuid, uuid), exchequer_grants(uuid, uuid);
"""


def row(name: str, *fields: tuple[str, models.Field]) -> migrations.CreateModel:
    """Return the creation of a tenant's table, with its id, tenant and time."""
    key = models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)
    tenant = models.ForeignKey(
        editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
    )
    created = models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)
    options = {"abstract": False, "base_manager_name": "objects"}
    return migrations.CreateModel(name, [("id", key), ("tenant", tenant), ("created_at", created), *fields], options)


def belongs_to(model: str, **options: object) -> TenantForeignKey:
    """Return a reference that ends with its target."""
    return TenantForeignKey(
        **{"on_delete": django.db.models.deletion.CASCADE, "related_name": "+", **options}, to=f"tenants.{model}"
    )


def held_by(*, membership: bool, group: bool, service_account: bool) -> Q:
    """Return the condition that a grant has these holders and no other."""
    return Q(membership__isnull=not membership, group__isnull=not group, service_account__isnull=not service_account)


PROTECT = {"on_delete": django.db.models.deletion.PROTECT, "null": True}
NAME = ("name", models.CharField(max_length=60))
DESCRIPTION = ("description", models.CharField(blank=True, max_length=200))
ONCE = {
    model: models.UniqueConstraint(models.F("tenant"), django.db.models.functions.text.Lower("name"), name=name)
    for model, name in (
        ("group", "group_name_once"),
        ("role", "role_name_once"),
        ("serviceaccount", "service_account_name_once"),
    )
}
OF_GRANTS = (
    models.CheckConstraint(
        condition=held_by(membership=True, group=False, service_account=False)
        | held_by(membership=False, group=True, service_account=False)
        | held_by(membership=False, group=False, service_account=True),
        name="grant_has_one_holder",
    ),
    models.CheckConstraint(
        condition=Q(built_in="", role__isnull=False) | Q(built_in__in=BUILT_IN, role__isnull=True),
        name="grant_has_one_role",
    ),
    models.CheckConstraint(
        condition=~Q(built_in="owner") | Q(membership__isnull=False, project__isnull=True, expires_at__isnull=True),
        name="grant_owner_is_a_person",
    ),
    models.UniqueConstraint(
        fields=["tenant", "membership", "group", "service_account", "built_in", "role", "project"],
        nulls_distinct=False,
        name="grant_once",
    ),
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0009_doors_are_guarded")]

    operations = [
        row(
            "Role",
            NAME,
            DESCRIPTION,
            (
                "permissions",
                django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), size=None),
            ),
        ),
        row("Group", NAME),
        row("ServiceAccount", NAME, DESCRIPTION, ("disabled_at", models.DateTimeField(null=True))),
        row("GroupMember", ("group", belongs_to("group")), ("membership", belongs_to("membership"))),
        row(
            "Grant",
            ("membership", belongs_to("membership", null=True, related_name="grants")),
            ("group", belongs_to("group", null=True, related_name="grants")),
            ("service_account", belongs_to("serviceaccount", null=True, related_name="grants")),
            ("built_in", models.CharField(blank=True, choices=CHOICES, max_length=16)),
            ("role", belongs_to("role", **PROTECT, related_name="grants")),
            ("project", belongs_to("project", **PROTECT)),
            ("created_by", models.CharField(blank=True, max_length=254)),
            ("expires_at", models.DateTimeField(null=True)),
        ),
        migrations.RunSQL(ROLES_TO_GRANTS, migrations.RunSQL.noop),
        *(migrations.AddConstraint(model, constraint) for model, constraint in ONCE.items()),
        migrations.AddConstraint(
            "groupmember",
            models.UniqueConstraint(fields=["tenant", "group", "membership"], name="group_member_once"),
        ),
        *(migrations.AddConstraint("grant", constraint) for constraint in OF_GRANTS),
        *(rls.SecureTable(model) for model in ("Role", "Group", "ServiceAccount", "GroupMember", "Grant")),
        migrations.AddField("apikey", "service_account", belongs_to("serviceaccount", **PROTECT)),
        migrations.AddField("invitation", "service_account", belongs_to("serviceaccount", **PROTECT)),
        *(
            migrations.RunSQL(
                rls.composite_key_sql(table, "service_account_id", "tenants_serviceaccount"), migrations.RunSQL.noop
            )
            for table in ("tenants_apikey", "tenants_invitation")
        ),
        migrations.RemoveConstraint("membership", "membership_role_known"),
        migrations.RemoveField("membership", "role"),
        migrations.RemoveConstraint("invitation", "invitation_role_known"),
        migrations.AlterField("invitation", "role", models.CharField(choices=CHOICES, max_length=16)),
        migrations.AddConstraint(
            "invitation", models.CheckConstraint(condition=Q(role__in=BUILT_IN), name="invitation_role_known")
        ),
        migrations.RunSQL(ENTRANCES, GONE),
    ]
