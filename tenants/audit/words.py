"""What the audit log names, in words: `tenants.project.created` is "Project created". Apps above register their own."""

from collections.abc import Mapping
from typing import Literal

_PHRASES = {
    "tenants.request.refused": "Refused",
    "tenants.session.started": "Logged in",
    "tenants.log_in.refused": "Log-in refused",
    "tenants.webhook.address_revealed": "Webhook address revealed",
    "tenants.member.credentials_adopted": "Member credentials adopted",
    "tenants.member.log_in_reset": "Member log-in reset",
    "tenants.member.role_changed": "Member role changed",
    "tenants.operator.password_set": "Operator password set",
}
OPERATIONS = ("create", "access", "modify", "remove", "auth")
Operation = Literal["create", "access", "modify", "remove", "auth"]
_AUTH = {"session", "log_in", "password", "second_factor"}
_AUTH_VERBS = {
    "logged_in",
    "log_in_reset",
    "password_changed",
    "password_set",
    "second_factor_changed",
    "second_factor_reset",
}
_ACCESS = {"audit_log.reviewed", "break_glass.entered", "letter.opened", "operator_log.reviewed", "request.refused"}
_ACCESS_VERBS = {"address_revealed", "downloaded", "exported", "viewed"}
_CREATE_VERBS = {
    "added", "asked", "appointed", "created", "defined", "deployed", "entered", "given", "granted", "issued", "linked", "mapped",
    "member_added", "opened", "ordered", "placed", "provisioned", "published", "registered", "requested", "shared",
    "submitted", "uploaded", "written",
}  # fmt: skip
_REMOVE_VERBS = {
    "closed", "credentials_ended", "deleted", "dismissed", "expired", "forgotten", "member_removed", "removed",
    "revoked", "undeployed", "unlinked", "unmapped", "unshared", "voided", "withdrawn",
}  # fmt: skip
_NOUNS = {"api_key": "API key", "apikey": "API key", "break_glass": "look inside", "tenant": "organisation"}
_FIELDS: dict[str, str] = {}


def register(
    phrases: Mapping[str, str], nouns: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
) -> None:
    """Add an app's words: those of whole actions, and those of nouns and fields that people call otherwise."""
    _PHRASES.update(phrases)
    _NOUNS.update(nouns or {})
    _FIELDS.update(fields or {})


def field_words(field: str) -> str:
    """Return the label of a changed field, as it stands in a sentence: "time limit (s)"."""
    return _FIELDS.get(field, field.replace("_", " "))


def noun_words(noun: str) -> str:
    """Return the object of an action, capitalised: "API key"."""
    said = _NOUNS.get(noun, noun.replace("_", " "))
    return said[:1].upper() + said[1:]


def act_words(action: str) -> str:
    """Return the label of an action such as `tenants.api_key.created`; other text stays unchanged."""
    parts = action.split(".")
    if action in _PHRASES or len(parts) != 3:
        return _PHRASES.get(action, action)
    return f"{noun_words(parts[1])} {parts[2].replace('_', ' ')}"


def operation_of(action: str) -> Operation:
    """Return what an action is to its object: whatever neither creates, removes nor reads it modifies it."""
    _, _, rest = action.partition(".")
    noun, _, verb = rest.partition(".")
    if noun in _AUTH or verb in _AUTH_VERBS:
        return "auth"
    if verb in _ACCESS_VERBS or rest in _ACCESS:
        return "access"
    if verb in _CREATE_VERBS:
        return "create"
    return "remove" if verb in _REMOVE_VERBS else "modify"
