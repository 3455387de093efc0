"""What a provider stated about a person, as a log-in keeps it for a few minutes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from tenants.clock import DatabaseNow
from tenants.errors import ExchequerError
from tenants.identity.providers import people
from tenants.identity.providers.oidc import Identity
from tenants.isolation.scoping import tenant_scope
from tenants.models import ExternalIdentity, FormerMember, IdentityProvider, LogInAttempt, Membership
from tenants.outbound.client import OutboundError

MOST_CLAIMS, LONGEST_CLAIM = 40, 300
ISSUER = "Check the issuer: over https, its address with /.well-known/openid-configuration must answer from the internet, and name the same issuer."
CLIENT = "Check client id and client secret, and that the provider has our redirect address, which stands on this page."
PERSON = "Check at the provider that the person who tests is assigned to the application."
SIGNER = "Check the entity id and the certificate of the provider: it may sign with a newer one."
OURS = "Check that the provider has our entity id and our address for answers, which stand on this page."
#: What to check when a test fails, by the code of the error; all of it for another one.
ADVICE: dict[str, tuple[str, ...]] = {
    "provider_unreachable": (ISSUER,),
    "id_token_refused": (CLIENT, ISSUER),
    "provider_refused": (PERSON, CLIENT),
    "assertion_refused": (SIGNER, OURS),
    "assertion_replayed": ("Test again: an answer counts once.",),
    "providers_busy": ("Test again in a moment.",),
}


class TestFailed(ExchequerError):
    """The test log-in failed; the page of the provider says why."""

    code = "test_failed"
    status = 422

    def __init__(self, attempt_id: UUID) -> None:
        super().__init__()
        self.attempt_id = attempt_id


@contextmanager
def failing_as_test(attempt: LogInAttempt) -> Iterator[None]:
    """Keep why a test fails within, and end the attempt. Raises TestFailed then; what fails of a real log-in is raised as it is."""
    try:
        yield
    except ExchequerError as error:
        if not attempt.is_test:
            raise
        with tenant_scope(attempt.tenant_id):
            LogInAttempt.objects.filter(id=attempt.id).update(outcome=failure(error), used_at=DatabaseNow())
        raise TestFailed(attempt.id) from error


def failure(error: ExchequerError) -> dict[str, Any]:
    """Return why a test failed, for those who manage the provider: the cause, which others never read, and what to check."""
    cause = "".join(sign for sign in str(error.__cause__ or "") if sign.isprintable())[:LONGEST_CLAIM]
    advice = (ISSUER,) if isinstance(error, OutboundError) else ADVICE.get(error.code, (ISSUER, CLIENT, SIGNER, OURS))
    return {"result": error.message, "failed": True, "cause": cause, "advice": list(advice), "claims": {}}


def stored(identity: Identity) -> dict[str, Any]:
    """Return an identity as JSON that the database takes."""
    found = {
        "subject": identity.subject,
        "email": identity.email,
        "email_verified": identity.email_verified,
        "name": identity.name,
        "groups": list(identity.groups),
        "claims": shown(identity.claims),
    }
    return json.loads(json.dumps(found).replace("\\u0000", ""))  # type: ignore[no-any-return]


def identity(outcome: Mapping[str, Any]) -> Identity:
    """Return the identity that was stored."""
    return Identity(
        subject=str(outcome.get("subject", "")),
        email=str(outcome.get("email", "")),
        email_verified=outcome.get("email_verified"),
        name=str(outcome.get("name", "")),
        groups=tuple(outcome.get("groups", ())),
    )


def shown(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return claims for display: the first ones, cut."""
    return {
        str(name)[:LONGEST_CLAIM]: _text(value)[:LONGEST_CLAIM] for name, value in list(claims.items())[:MOST_CLAIMS]
    }


def keep_test(attempt: LogInAttempt, provider: IdentityProvider, found: Identity) -> None:
    """Keep what a test log-in found, and what a real one would do. It makes no member and opens no session."""
    outcome = stored(found) | {"result": result(provider, found)}
    LogInAttempt.objects.filter(id=attempt.id).update(outcome=outcome)


def result(provider: IdentityProvider, found: Identity) -> str:
    """Return in a sentence what a log-in of this identity would do."""
    link = ExternalIdentity.objects.select_related("user").filter(provider=provider, subject=found.subject).first()
    try:
        email = link.user.email if link else people.checked_address(provider, found)
    except ExchequerError as refused:
        return refused.message
    user = link.user if link else people.account_of(email)
    if user is not None and Membership.objects.filter(user=user).exists():
        return f"{email} would be logged in."
    if user is not None and FormerMember.objects.filter(user=user).exists():
        return f"{email} was removed from the organisation, and would not be let in."
    if provider.just_in_time:
        return f"{email} would become a member with the role {provider.default_role}."
    return f"{email} is no member, and could ask to join."


def test_of(attempt_id: UUID) -> dict[str, Any] | None:
    """Return what a test log-in found; None before it came back."""
    row = LogInAttempt.objects.filter(id=attempt_id, is_test=True).first()
    return None if row is None else row.outcome


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
