"""allauth's forms in the words that the rest of the product uses."""

import functools
from typing import Any

from allauth.account import forms as provided
from django.conf import settings
from django.http import HttpRequest

from tenants.events.external_work import LETTERS

#: The backends of `config.mail`: a server may take its time, and so does a file.
SENT_ASIDE = ("tenants.notifications.smtp.Backend", "tenants.notifications.file_backend.FileBackend")

LABELS = {
    "login": "E-mail address",
    "email": "E-mail address",
    "remember": "Stay logged in on this device",
    "oldpassword": "Current password",
    "password1": "New password",
    "password2": "New password, once more",
}


class LabelsMixin:
    """Gives the fields of an account's form their labels."""

    fields: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LABELS.keys() & self.fields.keys():
            self.fields[name].label = LABELS[name]


class LogIn(LabelsMixin, provided.LoginForm):  # type: ignore[misc]
    """Log in by address and password."""


class ForgottenPassword(LabelsMixin, provided.ResetPasswordForm):  # type: ignore[misc]
    """Ask for a link."""

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        """Have the letter made and sent aside: how long the answer takes does not tell whether there is an account."""
        email = str(self.cleaned_data["email"])
        write = functools.partial(super().save, request, **kwargs)
        if settings.EMAIL_BACKEND in SENT_ASIDE:
            LETTERS.put(object(), write)
        else:
            write()
        return email


class ChosenPassword(LabelsMixin, provided.ResetPasswordKeyForm):  # type: ignore[misc]
    """Choose a password behind such a link."""


class ChangedPassword(LabelsMixin, provided.ChangePasswordForm):  # type: ignore[misc]
    """Change a password that is known."""


class FirstPassword(LabelsMixin, provided.SetPasswordForm):  # type: ignore[misc]
    """Choose a password for an account without one."""
