"""What the audit log names, in words: `tenants.project.created` is "Project created". Apps above register their own."""

from collections.abc import Mapping

_PHRASES = {
    "tenants.request.refused": "Refused",
    "tenants.session.started": "Logged in",
    "tenants.log_in.refused": "Log-in refused",
    "tenants.member.credentials_adopted": "Member credentials adopted",
    "tenants.member.log_in_reset": "Member log-in reset",
    "tenants.member.role_changed": "Member role changed",
    "tenants.operator.password_set": "Operator password set",
}
_NOUNS = {"api_key": "API key", "break_glass": "look inside", "tenant": "organisation"}
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
