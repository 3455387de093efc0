import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation import rls

# A session that an identity provider opened is bound to its tenant: it enters no other, whatever it asks for.
ENTRANCE = """
CREATE OR REPLACE FUNCTION exchequer_enter_session(cookie text, short_name text)
RETURNS TABLE (session_data text, person jsonb, tenant jsonb, grants jsonb) LANGUAGE plpgsql VOLATILE AS
$$ DECLARE
  open_one tenants_session;
  organisation uuid;
BEGIN
  SELECT s.* INTO open_one FROM tenants_session s WHERE s.session_key = cookie AND s.expire_date > clock_timestamp();
  IF open_one.user_id IS NULL THEN RETURN; END IF;
  short_name := coalesce(nullif(short_name, ''), open_one.tenant_slug);
  organisation := CASE WHEN short_name = '' THEN coalesce(open_one.bound_tenant, exchequer_only_tenant(open_one.user_id))
                       ELSE exchequer_tenant_for(open_one.user_id, short_name) END;
  IF open_one.bound_tenant IS NOT NULL AND organisation IS DISTINCT FROM open_one.bound_tenant THEN organisation := NULL; END IF;
  RETURN QUERY SELECT open_one.session_data, to_jsonb(u), e.tenant, e.grants
    FROM tenants_user u LEFT JOIN exchequer_enter_member(u.id, organisation) e ON true WHERE u.id = open_one.user_id;
END $$;
"""
# Before somebody is logged in no tenant is known. These return ids only, as the look-ups of memberships and keys do.
LOOK_UPS = """
CREATE POLICY lookup_rows ON tenants_identityprovider FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON tenants_maildomain FOR SELECT TO exchequer_owner USING (true);
CREATE POLICY lookup_rows ON tenants_scimtoken FOR SELECT TO exchequer_owner USING (true);

CREATE FUNCTION exchequer_provider_of(short_name text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT t.id FROM tenants_tenant t JOIN tenants_identityprovider p ON p.tenant_id = t.id
   WHERE t.slug = short_name AND p.enabled AND t.standing <> 'closed' $$;

CREATE FUNCTION exchequer_providers_for(domain text) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT d.tenant_id FROM tenants_maildomain d JOIN tenants_identityprovider p ON p.tenant_id = d.tenant_id
   JOIN tenants_tenant t ON t.id = d.tenant_id
   WHERE d.name = domain AND d.verified_at IS NOT NULL AND p.enabled AND t.standing <> 'closed'
   ORDER BY d.verified_at LIMIT 2 $$;

CREATE FUNCTION exchequer_scim_tokens(start text) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT k.tenant_id, k.id FROM tenants_scimtoken k WHERE k.prefix = start AND k.revoked_at IS NULL $$;

REVOKE ALL ON FUNCTION exchequer_provider_of(text), exchequer_providers_for(text), exchequer_scim_tokens(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_provider_of(text), exchequer_providers_for(text), exchequer_scim_tokens(text) TO exchequer_app;
GRANT UPDATE (provider_required) ON tenants_tenant TO exchequer_app;
"""
NO_LOOK_UPS = """
DROP FUNCTION exchequer_provider_of(text), exchequer_providers_for(text), exchequer_scim_tokens(text);
"""
SEES, ENDS = "SELECT", "SELECT, DELETE"
SECURED = {
    "IdentityProvider": SEES,
    "MailDomain": SEES,
    "ExternalIdentity": rls.ALL,
    "ExternalGroup": SEES,
    "ScimUser": rls.ALL,
    "FormerMember": rls.ALL,
    "LogInAttempt": ENDS,
    "UsedAssertion": ENDS,
    "ScimToken": "SELECT, UPDATE, DELETE",
}


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0018_audit_checkpoints"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExternalGroup",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("claim", models.CharField(max_length=255)),
                ("external_id", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ExternalIdentity",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("subject", models.CharField(max_length=255)),
                ("email", models.EmailField(max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("last_used_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="FormerMember",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("by_provider", models.BooleanField(default=False)),
                ("removed_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="IdentityProvider",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(choices=[("oidc", "OpenID Connect"), ("saml", "SAML 2.0")], max_length=4)),
                ("name", models.CharField(max_length=60)),
                ("issuer", models.CharField(max_length=500)),
                ("client_id", models.CharField(blank=True, max_length=200)),
                ("client_secret", models.BinaryField(null=True)),
                ("sign_in_url", models.CharField(blank=True, max_length=500)),
                (
                    "certificates",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                (
                    "default_role",
                    models.CharField(
                        choices=[
                            ("admin", "admin"),
                            ("finance", "finance"),
                            ("engineer", "engineer"),
                            ("auditor", "auditor"),
                            ("viewer", "viewer"),
                        ],
                        default="viewer",
                        max_length=16,
                    ),
                ),
                (
                    "highest_role",
                    models.CharField(
                        choices=[
                            ("admin", "admin"),
                            ("finance", "finance"),
                            ("engineer", "engineer"),
                            ("auditor", "auditor"),
                            ("viewer", "viewer"),
                        ],
                        default="viewer",
                        max_length=16,
                    ),
                ),
                ("just_in_time", models.BooleanField(default=False)),
                ("trusts_email", models.BooleanField(default=False)),
                ("groups_claim", models.CharField(blank=True, max_length=120)),
                ("enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="LogInAttempt",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("state", models.BinaryField()),
                ("browser", models.BinaryField()),
                ("nonce", models.CharField(max_length=64)),
                ("verifier", models.CharField(max_length=128)),
                ("next", models.CharField(blank=True, max_length=500)),
                ("is_test", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                ("outcome", models.JSONField(null=True)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="MailDomain",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=253)),
                ("token", models.CharField(max_length=64)),
                ("verified_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ScimToken",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("membership_id", models.UUIDField(null=True)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("expires_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                ("name", models.CharField(max_length=120)),
                ("prefix", models.CharField(max_length=12)),
                ("token_hash", models.BinaryField()),
                ("created_by", models.CharField(max_length=254)),
                ("last_used_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ScimUser",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("user_name", models.EmailField(max_length=254)),
                ("external_id", models.CharField(blank=True, max_length=255)),
                ("attributes", models.JSONField(default=dict)),
                ("active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("changed_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow())),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="UsedAssertion",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("digest", models.BinaryField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="session",
            name="bound_tenant",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="tenant",
            name="provider_required",
            field=models.BooleanField(default=False),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(("bound_tenant__isnull", False)), fields=["bound_tenant"], name="session_bound"
            ),
        ),
        migrations.AddField(
            model_name="externalgroup",
            name="group",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.group"
            ),
        ),
        migrations.AddField(
            model_name="externalgroup",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="externalidentity",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="externalidentity",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="formermember",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="formermember",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="identityprovider",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="externalidentity",
            name="provider",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tenants.identityprovider",
            ),
        ),
        migrations.AddField(
            model_name="externalgroup",
            name="provider",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tenants.identityprovider",
            ),
        ),
        migrations.AddField(
            model_name="loginattempt",
            name="provider",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tenants.identityprovider",
            ),
        ),
        migrations.AddField(
            model_name="loginattempt",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="maildomain",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="scimtoken",
            name="parent_key",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.apikey",
            ),
        ),
        migrations.AddField(
            model_name="scimtoken",
            name="provider",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tenants.identityprovider",
            ),
        ),
        migrations.AddField(
            model_name="scimtoken",
            name="service_account",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.serviceaccount",
            ),
        ),
        migrations.AddField(
            model_name="scimtoken",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="scimuser",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="scimuser",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="usedassertion",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="formermember",
            constraint=models.UniqueConstraint(fields=("tenant", "user"), name="former_member_once"),
        ),
        migrations.AddConstraint(
            model_name="identityprovider",
            constraint=models.UniqueConstraint(fields=("tenant",), name="identity_provider_once"),
        ),
        migrations.AddConstraint(
            model_name="identityprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["oidc", "saml"])), name="identity_provider_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="identityprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("default_role__in", ("admin", "finance", "engineer", "auditor", "viewer")),
                    ("highest_role__in", ("admin", "finance", "engineer", "auditor", "viewer")),
                ),
                name="identity_provider_makes_no_owner",
            ),
        ),
        migrations.AddConstraint(
            model_name="externalidentity",
            constraint=models.UniqueConstraint(fields=("tenant", "provider", "subject"), name="external_identity_once"),
        ),
        migrations.AddConstraint(
            model_name="externalidentity",
            constraint=models.UniqueConstraint(
                fields=("tenant", "provider", "user"), name="external_identity_one_of_user"
            ),
        ),
        migrations.AddConstraint(
            model_name="externalgroup",
            constraint=models.UniqueConstraint(
                fields=("tenant", "provider", "claim"), name="external_group_claim_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="externalgroup",
            constraint=models.UniqueConstraint(fields=("tenant", "group"), name="external_group_once"),
        ),
        migrations.AddIndex(
            model_name="loginattempt",
            index=models.Index(fields=["tenant", "expires_at"], name="log_in_attempt_end"),
        ),
        migrations.AddConstraint(
            model_name="loginattempt",
            constraint=models.UniqueConstraint(fields=("tenant", "state"), name="log_in_attempt_once"),
        ),
        migrations.AddIndex(
            model_name="maildomain",
            index=models.Index(
                condition=models.Q(("verified_at__isnull", False)), fields=["name"], name="mail_domain_proven"
            ),
        ),
        migrations.AddConstraint(
            model_name="maildomain",
            constraint=models.UniqueConstraint(fields=("tenant", "name"), name="mail_domain_once"),
        ),
        migrations.AddIndex(
            model_name="scimtoken",
            index=models.Index(fields=["prefix"], name="scim_token_prefix"),
        ),
        migrations.AddIndex(
            model_name="scimuser",
            index=models.Index(fields=["tenant", "external_id"], name="scim_user_external"),
        ),
        migrations.AddConstraint(
            model_name="scimuser",
            constraint=models.UniqueConstraint(fields=("tenant", "user"), name="scim_user_once"),
        ),
        migrations.AddConstraint(
            model_name="scimuser",
            constraint=models.UniqueConstraint(
                models.F("tenant"), django.db.models.functions.text.Lower("user_name"), name="scim_user_name_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="usedassertion",
            constraint=models.UniqueConstraint(fields=("tenant", "digest"), name="used_assertion_once"),
        ),
        *(rls.SecureTable(name, control_grants=control) for name, control in SECURED.items()),
        migrations.RunSQL(ENTRANCE, migrations.RunSQL.noop),
        migrations.RunSQL(LOOK_UPS, NO_LOOK_UPS),
    ]
