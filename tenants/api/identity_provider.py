"""REST endpoints of the organisation's identity provider: configuration, domains, SCIM tokens, groups, linked people."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.standing import TakesAway
from tenants.api.identity_provider_shapes import (
    DomainSerializer,
    LeaversSerializer,
    LinkedSerializer,
    MappingSerializer,
    NewDomainSerializer,
    NewMappingSerializer,
    NewTokenSerializer,
    ProviderSerializer,
    RequiredSerializer,
    TokenSerializer,
    WantedProviderSerializer,
    WantedTokenSerializer,
)
from tenants.errors import NotFound
from tenants.identity.members import parse_jobs
from tenants.identity.providers import (
    configuration,
    domains,
    group_claims,
    oidc,
    people,
    queries,
    scim_tokens,
)
from tenants.isolation.scoping import tenant_scope
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView

VIEW, MANAGE = "identity.view", "identity.manage"


class Provider(ApiView):
    """The organisation's identity provider."""

    permissions = {"GET": VIEW, "PUT": MANAGE, "DELETE": MANAGE}

    @extend_schema(responses=ProviderSerializer)
    def get(self, request: Request) -> Response:
        """Return it, without its secret."""
        found = queries.provider_row()
        if found is None:
            raise NotFound
        return Response(ProviderSerializer(found).data)

    @extend_schema(request=WantedProviderSerializer, responses=ProviderSerializer)
    def put(self, request: Request) -> Response:
        """Store it. Another issuer or client ends the sessions and links of the one before."""
        data = checked(WantedProviderSerializer(data=request.data))
        data["certificates"] = tuple(data.get("certificates", ()))
        configuration.save(actor=self.actor, wanted=configuration.Wanted(**data))
        oidc.forget(self.actor.tenant_id)
        return self.get(request)

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Remove it with its links, SCIM tokens and sessions; members stay."""
        configuration.remove(actor=self.actor)
        return Response(status=204)


class Required(ApiView):
    """Whether the identity provider is required."""

    permissions = {"PUT": MANAGE}

    @extend_schema(request=RequiredSerializer, responses=RequiredSerializer)
    def put(self, request: Request) -> Response:
        """Require it, or let passwords in again. An owner needs a password and a second factor first."""
        data = checked(RequiredSerializer(data=request.data))
        configuration.require(actor=self.actor, required=data["is_required"])
        return Response(RequiredSerializer(data).data)


class Leavers(ApiView):
    """Members whom the identity provider removes."""

    permissions = {"PUT": MANAGE}

    @extend_schema(request=LeaversSerializer, responses=LeaversSerializer)
    def put(self, request: Request) -> Response:
        """Choose what becomes of their open jobs. Where these cannot be handed over, they continue."""
        data = checked(LeaversSerializer(data=request.data))
        configuration.choose_for_leavers(actor=self.actor, jobs=parse_jobs(data["jobs"]))
        found = queries.provider_row()
        return Response(LeaversSerializer({"jobs": found.leavers_jobs if found else "keep"}).data)


class Domains(ApiView):
    """Domains of email addresses that the provider may speak for."""

    permissions = {"GET": VIEW, "POST": MANAGE}

    @extend_schema(responses=page_of(DomainSerializer))
    def get(self, request: Request) -> Response:
        """List them, each with the TXT record that proves it."""
        return self.whole(domains.domains(), DomainSerializer)

    @extend_schema(request=NewDomainSerializer, responses={201: DomainSerializer})
    def post(self, request: Request) -> Response:
        """List a domain; publish the TXT record of the response, then verify it."""
        data = checked(NewDomainSerializer(data=request.data))
        row = domains.add(actor=self.actor, **data)
        return Response(DomainSerializer(domains.find(row.id)).data, status=201)


class OneDomain(ApiView):
    """One domain."""

    permissions = {"DELETE": MANAGE}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, domain_id: UUID) -> Response:
        """Remove it: the provider names nobody new with its addresses; members stay."""
        domains.remove(actor=self.actor, domain_id=domain_id)
        return Response(status=204)


class DomainVerify(ApiView):
    """Verifies a domain."""

    permissions = {"POST": MANAGE}
    own_transaction = True

    @extend_schema(request=None, responses=DomainSerializer)
    def post(self, request: Request, domain_id: UUID) -> Response:
        """Read its TXT record. Repeating it changes nothing; 409 while the record is missing."""
        with tenant_scope(self.actor.tenant_id):
            found = domains.find(domain_id)
        records = [] if found.verified_at and not found.missing_since else domains.txt_records(found.record_name)
        domains.prove(actor=self.actor, domain_id=domain_id, records=records)
        with tenant_scope(self.actor.tenant_id):
            return Response(DomainSerializer(domains.find(domain_id)).data)


class ScimTokens(ApiView):
    """SCIM tokens of the provider."""

    permissions = {"GET": VIEW, "POST": MANAGE}
    shown_once = frozenset({"token"})

    @extend_schema(responses=page_of(TokenSerializer))
    def get(self, request: Request) -> Response:
        """List them without their secrets, newest first."""
        return self.whole(queries.scim_tokens(), TokenSerializer)

    @extend_schema(request=WantedTokenSerializer, responses={201: NewTokenSerializer})
    def post(self, request: Request) -> Response:
        """Create one. It ends with the membership, the service account or the key that created it."""
        data = checked(WantedTokenSerializer(data=request.data))
        return Response(NewTokenSerializer(scim_tokens.create(actor=self.actor, **data)).data, status=201)


class OneScimToken(ApiView):
    """One SCIM token."""

    permissions = {"DELETE": TakesAway(MANAGE)}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke it, effective with its next request."""
        scim_tokens.revoke(actor=self.actor, token_id=token_id)
        return Response(status=204)


class Mappings(ApiView):
    """Groups that the provider fills."""

    permissions = {"GET": VIEW, "POST": MANAGE}

    @extend_schema(responses=page_of(MappingSerializer))
    def get(self, request: Request) -> Response:
        """List them, by name."""
        return self.whole(group_claims.mapped_groups(), MappingSerializer)

    @extend_schema(request=NewMappingSerializer, responses={201: MappingSerializer})
    def post(self, request: Request) -> Response:
        """Let the provider fill a group. It must have no more than the provider's highest role."""
        data = checked(NewMappingSerializer(data=request.data))
        row = group_claims.map_group(actor=self.actor, **data)
        found = next(one for one in group_claims.mapped_groups() if one.id == row.id)
        return Response(MappingSerializer(found).data, status=201)


class OneMapping(ApiView):
    """One group that the provider fills."""

    permissions = {"DELETE": MANAGE}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, mapping_id: UUID) -> Response:
        """Fill it by hand again; its members stay."""
        group_claims.unmap_group(actor=self.actor, mapping_id=mapping_id)
        return Response(status=204)


class Linked(ApiView):
    """People whom the provider names."""

    permissions = {"GET": VIEW}

    @extend_schema(parameters=PAGE, responses=page_of(LinkedSerializer))
    def get(self, request: Request) -> Response:
        """List them, newest first."""
        rows = queries.identities(before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, LinkedSerializer, lambda row: (row.id,))


class OneLinked(ApiView):
    """One person whom the provider names."""

    permissions = {"DELETE": TakesAway(MANAGE)}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, identity_id: UUID) -> Response:
        """Unlink the person, and end the sessions that the provider opened; the membership stays."""
        people.unlink(actor=self.actor, identity_id=identity_id)
        return Response(status=204)
