"""Differences from allauth: no sign-up, and limits and links that do not depend on headers."""

from typing import Any
from urllib.parse import quote

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.internal import ratelimit
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from tenants.audit import log_ins
from tenants.identity import audited_access, known_devices, second_factor, sessions
from tenants.models import User

#: Seconds after which a retry is worthwhile.
HELD_UP_S = 300
#: For somebody who would give a password to an account that an identity provider made.
PROVIDER_ONLY = (
    "This account has no password: your organisation's identity provider made it. Log in by your organisation instead."
)
#: allauth's mails about a second factor that was set up.
ADDED = ("totp_activated", "webauthn_added")


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Login by email address; organisations create accounts, sign-up is closed."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "The email address or the password is wrong.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Refuse self-service accounts."""
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count an attempt for its account and client address, and for the known device or the account from everywhere.

        One too many is refused. Guesses from many addresses use up the limit of the account, not that of a device that
        logged in before.
        """
        try:
            self._count(request, credentials)
        except ValidationError:
            self._note_refused_password(request, credentials, "too_many_attempts")
            raise

    def _count(self, request: HttpRequest, credentials: dict[str, Any]) -> None:
        request.held_up_s = HELD_UP_S  # type: ignore[attr-defined]
        super().pre_authenticate(request, **credentials)
        wanted = account(credentials)
        device = known_devices.device_of(request, wanted)
        action, key = ("login_failed_known", device) if device else ("login_failed_anywhere", wanted)
        counted = ratelimit.consume(request, app="allauth.account", action=action, key=key)
        if not counted:
            raise self.validation_error("too_many_login_attempts")
        del request.held_up_s  # type: ignore[attr-defined]
        self._login_failed_rl_usage.usage.extend(counted.usage)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Log in, but refuse the demo's password if other machines can reach us."""
        user = super().authenticate(request, **credentials)
        if (
            user is not None
            and credentials.get("password") == settings.PUBLISHED_PASSWORD
            and not settings.EXCHEQUER.demo_logins
        ):
            self.authentication_failed(request, **credentials)
            return None
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Note a refused password for the operator log."""
        self._note_refused_password(request, credentials, "credentials_wrong")

    def _note_refused_password(self, request: HttpRequest, credentials: dict[str, Any], code: str) -> None:
        wanted = account(credentials)
        user_id = User.objects.filter(email=wanted).values_list("id", flat=True).first()
        self.note_refused(request, log_ins.PASSWORD, code, asked_for=wanted, account=user_id)

    def note_refused(self, request: HttpRequest, method: str, code: str, **about: Any) -> None:
        """Note a refused log-in for the operator log; `about`: further fields of `log_ins.Refusal`."""
        log_ins.note(
            log_ins.Refusal(
                method=method,
                code=code,
                ip=ratelimit.get_ip(request),
                request_id=getattr(request, "request_id", ""),
                **about,
            )
        )

    def login(self, request: HttpRequest, user: Any) -> None:
        """Log in. The console's log has it at once, an organisation's log once the session enters that organisation."""
        self.note_log_in(request, user)
        super().login(request, user)
        sessions.begin_entries(request)
        sessions.remember_origin(request)
        known_devices.remember(request, user)

    def note_log_in(self, request: HttpRequest, user: Any) -> None:
        """Record a log-in that concerns no organisation: here there is none."""

    def send_notification_mail(self, template_prefix: str, user: Any, *args: Any, **kwargs: Any) -> None:
        """Record what allauth would write a mail about: a second factor that was added or removed, and new codes."""
        kind, _, what = template_prefix.rpartition("/")
        if kind == "mfa/email":
            if what in ADDED:
                # Sessions of before knew the password alone; this one has just been confirmed.
                self.end_other_sessions(self.request, user)
                self.request.session[second_factor.SET_UP] = True
            self.note_second_factor(self.request, user, what)

    def note_second_factor(self, request: HttpRequest, user: Any, what: str) -> None:
        """Record a change of a second factor in the audit log of each of the person's organisations."""
        for actor in audited_access.everywhere(request, user):
            audited_access.second_factor(actor=actor, what=what)

    def note_codes_viewed(self, request: HttpRequest, user: Any) -> None:
        """Record in the audit log of each of the person's organisations that they saw their recovery codes."""
        for actor in audited_access.everywhere(request, user):
            audited_access.recovery_codes(actor=actor)

    def set_password(self, user: Any, password: str) -> None:
        """Set another password and record it, all or nothing. Raises ValidationError for an account of a provider."""
        check_may_have_password(user)
        with transaction.atomic():
            user.set_password(password)
            user.save(update_fields=["password"])
            self.note_password(self.request, user)
        known_devices.remember(self.request, user)

    def note_password(self, request: HttpRequest, user: Any) -> None:
        """Record a new password in the audit log of each of the person's organisations, and end the other sessions."""
        for actor in audited_access.everywhere(request, user):
            audited_access.password(actor=actor)
        self.end_other_sessions(request, user)

    def end_other_sessions(self, request: HttpRequest, user: Any) -> None:
        """End a person's other sessions."""
        sessions.end_others(user.id, request.session.session_key)

    def is_safe_url(self, url: str) -> bool:
        """Return whether a log-in may lead to this URL: on this very host and port, or relative."""
        return bool(
            url_has_allowed_host_and_scheme(
                url, allowed_hosts={self.request.get_host()}, require_https=self.request.is_secure()
            )
        )

    def clean_password(self, password: str, user: Any = None) -> str:
        """Return a valid password. Raises ValidationError, for an account of a provider too."""
        check_may_have_password(user)
        if password == settings.PUBLISHED_PASSWORD:
            raise ValidationError("This password is public. Choose another one.")
        chosen: str = super().clean_password(password, user)
        return chosen

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # allauth's own key starts with the Host header, which the client chooses.
        return f"{account(credentials)} {ratelimit.get_ip(request)}"

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link for the email, at the public address."""
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return f"{settings.EXCHEQUER.effective_public_url}{path.replace('UID-KEY', quote(key))}"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send an email; it may be created in a thread without a request."""
        self.render_mail(template_prefix, email, {"email": email, **context}).send()

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        """Send the link to the address of the account, not the typed one, which may only look like it.

        The mailbox of an account that a provider made gets no link, but where its owner logs in; the page says the same
        to everybody.
        """
        if user.provider_only:
            where = f"{settings.EXCHEQUER.effective_public_url}{reverse('find-provider')}"
            self.send_mail("account/email/provider_only", user.email, {"log_in_url": where})
            return
        super().send_password_reset_mail(user, user.email, context)


def check_may_have_password(user: Any) -> None:
    """Raise ValidationError for an account that an identity provider made: it never has a password."""
    if getattr(user, "provider_only", False):
        raise ValidationError(PROVIDER_ONLY)


def account(credentials: dict[str, Any]) -> str:
    """Return the canonical form of an account's address, however it is written."""
    return str(credentials.get("email") or credentials.get("username") or "").strip().casefold()
