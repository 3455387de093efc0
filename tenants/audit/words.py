"""Labels of audit actions: `compute.job.submitted` is "Job submitted". Pure."""

_PHRASES = {
    "billing.budget.alerted": "Budget threshold crossed",
    "billing.quote.bound": "Quote accepted",
    "billing.report_limit.changed": "Limit of reported usage changed",
    "billing.usage.conflicted": "Usage reported again with different content",
    "billing.usage.received": "Usage reported",
    "billing.usage.reviewed": "Reported usage reviewed",
    "compute.slot.unpaid": "Serving slot released: budget exhausted",
    "models_app.dataset_version.columns_chosen": "Dataset column types changed",
    "models_app.dataset_version.failed": "Dataset version could not be read",
    "models_app.endpoint.reported": "Endpoint state reported",
    "models_app.model_version.declined": "Promotion declined",
    "models_app.model_version.requested": "Promotion requested",
    "tenants.session.started": "Logged in",
    "tenants.member.credentials_adopted": "Member credentials adopted",
    "tenants.member.role_changed": "Member role changed",
    "tenants.operator.password_set": "Operator password set",
}
_NOUNS = {"api_key": "API key", "slot": "serving slot", "tenant": "organisation"}


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
