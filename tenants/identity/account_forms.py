"""allauth's forms with the product's labels."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from allauth.account import forms as provided
from allauth.account.adapter import get_adapter
from allauth.core import context
from allauth.mfa.base import forms as factors
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as passkeys
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from tenants.audit import log_ins
from tenants.errors import Unavailable
from tenants.events.external_work import ACCOUNT_EMAILS
from tenants.models import User

#: The backends of `config.mail`: a server or a file may be slow.
SENT_IN_BACKGROUND = ("tenants.notifications.smtp.Backend", "tenants.notifications.file_backend.FileBackend")

log = structlog.get_logger(__name__)

LABELS = {
    "login": "Email address",
    "email": "Email address",
    "remember": "Stay logged in on this device",
    "oldpassword": "Current password",
    "password1": "New password",
    "password2": "Repeat the new password",
}


class LabelsMixin:
    """Sets the labels of an account form."""

    fields: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LABELS.keys() & self.fields.keys():
            self.fields[name].label = LABELS[name]


class TooManyEmails(Unavailable):
    """Too many emails are waiting to be sent. Ask for a link again in a minute."""


class LogIn(LabelsMixin, provided.LoginForm):  # type: ignore[misc]
    """Login by address and password."""


class ForgottenPassword(LabelsMixin, provided.ResetPasswordForm):  # type: ignore[misc]
    """Request of a reset link."""

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        """Create and send the email in another thread: the response time must not reveal whether an account exists.

        The email waits in the memory of this process: it is lost when the process ends, and the person must ask again.
        Raises TooManyEmails, whatever the address, when the queue is full.
        """
        email = str(self.cleaned_data["email"])
        write = functools.partial(super().save, request, **kwargs)
        if settings.EMAIL_BACKEND in SENT_IN_BACKGROUND:
            if not ACCOUNT_EMAILS.put(object(), write):
                log.warning("emails.full", waiting=ACCOUNT_EMAILS.length())
                raise TooManyEmails(retry_after=60)
        else:
            write()
        return email


class ChosenPassword(LabelsMixin, provided.ResetPasswordKeyForm):  # type: ignore[misc]
    """New password behind a reset link, which goes to the address of the account alone: it proves the address."""

    def save(self) -> None:
        """Set the password."""
        super().save()
        User.objects.filter(id=self.user.id).update(address_proven=True)


class ChangedPassword(LabelsMixin, provided.ChangePasswordForm):  # type: ignore[misc]
    """Change of a known password."""


class Reauthenticated(LabelsMixin, provided.ReauthenticateForm):  # type: ignore[misc]
    """The password again, before what needs it."""


class FirstPassword(LabelsMixin, provided.SetPasswordForm):  # type: ignore[misc]
    """First password of an account without one."""


class _SecondFactor:
    """Notes for the operator log that a second factor was refused, of `user`, who has given the password."""

    user: Any

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note a ValidationError and raise it again."""
        try:
            yield
        except ValidationError as error:
            too_many = error.code == "too_many_login_attempts"
            code = "too_many_attempts" if too_many else "second_factor_wrong"
            get_adapter().note_refused(
                context.request, log_ins.SECOND_FACTOR, code, asked_for=str(self.user.id), account=self.user.id
            )
            raise


class _Code(_SecondFactor):
    def clean_code(self) -> str:
        """Return the code; raise ValidationError if it is wrong, or one of too many."""
        with self.noting():
            return str(super().clean_code())  # type: ignore[misc]


class _Passkey(_SecondFactor):
    def clean_credential(self) -> Authenticator:
        """Return the authenticator; raise ValidationError if it is unknown or its signature is wrong."""
        with self.noting():
            return super().clean_credential()  # type: ignore[misc]


class Code(_Code, factors.AuthenticateForm):  # type: ignore[misc]
    """Code of an authenticator app, or a recovery code, after the password."""


class CodeAgain(_Code, factors.ReauthenticateForm):  # type: ignore[misc]
    """Code in an open session, before what needs it."""


class Passkey(_Passkey, passkeys.AuthenticateWebAuthnForm):  # type: ignore[misc]
    """Passkey after the password."""


class PasskeyAgain(_Passkey, passkeys.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """Passkey in an open session, before what needs it."""
