"""Emails: their texts and links, and the external events that send them through the outbox.

The Message-ID is derived from the event, so that a copy sent again after a crash can be recognised.
"""

from __future__ import annotations

import re
import unicodedata
from email.errors import HeaderParseError
from smtplib import SMTPRecipientsRefused
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import BadHeaderError, EmailMessage

from tenants.events.events import InvitationIssued, NotificationRaised, subscribe
from tenants.identity import invitation_queries
from tenants.notifications import notifications
from tenants.operations import PLAIN_ADDRESS

log = structlog.get_logger(__name__)
INVITED = "Invitation to Exchequer"
LONGEST_NAME = 60
WITHIN_A_WORD = re.compile(r"[.\u3002\uff61]+(?=\w)")
FOOT = "You receive this email because you are a member of {name} on Exchequer."


@subscribe(NotificationRaised)
def mail_notification(event: NotificationRaised) -> None:
    """Email a notification to its member; no-op if the person has left or has read it meanwhile."""
    email = notifications.email_of(event.tenant_id, event.notification_id)
    if email is None:
        return
    text = f"{email.title}\n\n{email.body}\n\n{link(f't/{email.slug}/{email.path}')}\n\n-- \n{FOOT.format(name=email.tenant)}\n"
    send(email.to, f"[{email.tenant}] {email.title}", text, event.notification_id)


@subscribe(InvitationIssued)
def mail_invitation(event: InvitationIssued) -> None:
    """Email an invitation's link; no-op if the invitation is no longer open."""
    email = invitation_queries.email_of(event.tenant_id, event.invitation_id)
    if email is None:
        return
    # Strangers choose names, so subject and first line are ours, and names follow later, in quotes.
    text = (
        "You are invited to join an organisation on Exchequer.\n\n"
        f"{invitation_link(email)}\n\n"
        f"Organisation: {quoted(email.tenant)}\nInvited by: {_sender(email)}\nRole: {email.role}\n\n"
        f"The link works once, for {email.to} only, until {email.expires_at.day} {email.expires_at:%B %Y, %H:%M} {email.zone}. "
        "If you did not expect this invitation, ignore this email.\n"
    )
    send(email.to, INVITED, text, event.invitation_id)


def _sender(email: invitation_queries.InvitationEmail) -> str:
    """Return who invited: a member by the address of their account, a key by its name."""
    if email.by_key:
        return f"an API key named {quoted(email.invited_by)}"
    return email.invited_by if PLAIN_ADDRESS.fullmatch(email.invited_by) else quoted(email.invited_by)


def quoted(name: str) -> str:
    """Return a person-chosen name as one short line in quotes that no program turns into a link."""
    plain = unicodedata.normalize("NFKC", name)
    kept = "".join(" " if one in '"“”/\\@' or unicodedata.category(one)[0] in "CZ" else one for one in plain)
    # Many programs turn a word with a dot into a link: “evil.example” is shown as “evil. example”.
    short = " ".join(WITHIN_A_WORD.sub(". ", kept).split())
    return f"“{short if len(short) <= LONGEST_NAME else short[: LONGEST_NAME - 1] + '…'}”"


def invitation_link(email: invitation_queries.InvitationEmail) -> str:
    """Return the URL of an invitation: its holder may accept."""
    return link(f"accounts/invitation/{email.token}/")


def link(path: str) -> str:
    """Return the URL of a page; its host is a setting, whatever host a request names."""
    return f"{settings.EXCHEQUER.effective_public_url}/{path}"


def send(to: str, subject: str, text: str, about: UUID, attached: tuple[str, bytes] | None = None) -> bool:
    """Send one email now, with a PDF if one is given by name; return False for an address that is refused permanently.

    Raises the SMTP client's errors.
    """
    host = urlsplit(settings.EXCHEQUER.effective_public_url).hostname or "localhost"
    subject = " ".join(subject.split())[:200]
    message = EmailMessage(subject, text, to=[to], headers={"Message-ID": f"<{about}@{host}>"})
    try:
        if not to.isprintable():
            raise HeaderParseError("the address would end its line")
        if attached:
            message.attach(*attached, "application/pdf")
        message.send()
    except (HeaderParseError, BadHeaderError, UnicodeError) as broken:
        log.warning("mail.refused_for_good", about=str(about), answers=[str(broken)])
        return False
    except SMTPRecipientsRefused as refused:
        if not all(500 <= code < 600 for code, _ in refused.recipients.values()):
            raise
        log.warning(
            "mail.refused_for_good", about=str(about), answers=[code for code, _ in refused.recipients.values()]
        )
        return False
    return True
