"""Attach a refusal to the form that caused it."""

from django import forms

from tenants.errors import ExchequerError, Invalid


def explain(form: forms.Form, refused: ExchequerError) -> None:
    """Add a domain error to a form: to the fields it names, else to the form."""
    named = refused.fields if isinstance(refused, Invalid) else {}
    for field, sentences in named.items():
        for sentence in sentences:
            form.add_error(field if field in form.fields else None, sentence)
    if not named:
        form.add_error(None, refused.message)
