"""Operations of the tenants app. Each one: require, load, check, change, record, publish."""

import re
import zoneinfo
from typing import Any
from uuid import UUID

from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now, timezones
from tenants.currencies import currency_fault
from tenants.encryption import keys
from tenants.errors import Conflict, Invalid, NotFound
from tenants.events import events
from tenants.ids import uuid7
from tenants.models import Membership, Project, Tenant, User, slug_rules
from tenants.projects.names import free_name
from tenants.projects.sight import check_sight
from tenants.rights import held

TENANT_CREATED = AuditAction("tenants.tenant.created")
TENANT_CHANGED = AuditAction("tenants.tenant.changed")
PROJECT_CREATED = AuditAction("tenants.project.created")
PROJECT_CHANGED = AuditAction("tenants.project.changed")
PROJECT_ARCHIVED = AuditAction("tenants.project.archived")
PROJECT_RESTORED = AuditAction("tenants.project.restored")
#: Where work goes that names no project.
DEFAULT_PROJECT = "default"
DATA_KEY_ROTATED = AuditAction("tenants.data_key.rotated")
LONGEST_EMAIL = 254
PLAIN_ADDRESS = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9.-]+")

#: Passwords that an operator sets by command or environment; other people's must pass all validators.
OPERATOR_RULES = [password_validation.MinimumLengthValidator(8)]


class TenantExists(Conflict):
    """An organisation with this short name already exists. Choose another one."""

    code = "tenant_exists"


class NotAlone(Conflict):
    """Only an organisation with one member can let that member approve their own requests."""

    code = "not_alone"


def check_slug(slug: str, field: str = "slug") -> str:
    """Return a valid short name; raise `Invalid` otherwise."""
    try:
        slug_rules(slug)
    except ValidationError as error:
        raise Invalid(fields={field: list(error.messages)}) from error
    return slug


def check_text(value: Any, field: str, maximum: int = 120) -> str:
    """Return stripped text of 1 to `maximum` printable characters; raise `Invalid` otherwise."""
    text = str(value or "").strip()
    if not text or len(text) > maximum or not text.isprintable():
        raise Invalid(fields={field: [f"Use 1 to {maximum} printable characters."]})
    return text


def check_email(text: str) -> str:
    """Return an address in lower case; raise `Invalid` for an invalid or deceptive one.

    A quoted local part may contain any text and line breaks; non-ASCII characters can imitate another person's address.
    """
    email = text.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise Invalid(fields={"email": ["Enter an email address, such as ana@example.org."]}) from error
    if not PLAIN_ADDRESS.fullmatch(email):
        words = "Use ASCII letters and digits without quotes; write an international domain in its xn-- form."
        raise Invalid(fields={"email": [words]})
    if len(email) > LONGEST_EMAIL:
        raise Invalid(fields={"email": [f"Enter an address of at most {LONGEST_EMAIL} characters."]})
    return email


def check_timezone(name: str) -> str:
    """Return the name of a time zone; raise `Invalid` for one missing from the tz database."""
    if name not in timezones():
        raise Invalid(fields={"timezone": ["Use a name of the tz database, such as Europe/Berlin."]})
    return name


def create_tenant(
    *,
    name: str,
    slug: str,
    email: str,
    password: str | None,
    timezone: str = "UTC",
    currency: str = "EUR",
) -> Tenant:
    """Create an organisation, its first project and its owner (an existing account keeps its password).

    Raises `TenantExists`, or `Invalid` naming each wrong field.
    """
    check_slug(slug)
    check_text(name, "name")
    check_timezone(timezone)
    if fault := currency_fault(currency):
        raise Invalid(fields={"currency": [fault]})
    tenant_id = uuid7()
    try:
        return _create_tenant(
            actor=Actor.system(tenant_id, "bootstrap"),
            tenant=Tenant(id=tenant_id, name=name, slug=slug, timezone=timezone, currency=currency),
            email=email,
            password=password,
        )
    except IntegrityError as error:
        if "slug" in str(error):
            raise TenantExists(slug=slug) from error
        raise


@operation(TENANT_CREATED)
def _create_tenant(*, actor: Actor, tenant: Tenant, email: str, password: str | None) -> Tenant:
    user = find_or_create_user(email=email, password=password)
    tenant.save(force_insert=True)
    Project.objects.create(slug=DEFAULT_PROJECT, name="Default")
    held.give(Membership.objects.create(user=user), "owner", by=actor.label)
    changes = {"name": [None, tenant.name], "owner": [None, user.email]}
    record(TENANT_CREATED, actor=actor, target=tenant, changes=changes)
    events.publish(events.TenantCreated(tenant_id=tenant.id))
    return tenant


@operation(TENANT_CHANGED)
def change_tenant(
    *,
    actor: Actor,
    name: str,
    timezone: str,
    self_approval: bool | None = None,
    second_factor_required: bool | None = None,
) -> bool:
    """Change the organisation's name and the time zone of its days and months; recorded usage keeps its day.

    `self_approval` lets the only member approve their own requests; it has no effect with a second member.
    `second_factor_required` lets in only people who have one; keys of programs stay as they are. Returns whether anything changed. Raises Invalid for a zone in which the last month still runs, NotAlone.
    """
    actor.require("tenant.manage")
    name, timezone = check_text(name, "name"), check_timezone(timezone)
    tenant = Tenant.objects.select_for_update(no_key=True).get(id=actor.tenant_id)
    given: dict[str, Any] = {"name": name, "timezone": timezone}
    if self_approval is not None:
        if self_approval and not tenant.self_approval and Membership.objects.count() != 1:
            raise NotAlone
        given["self_approval"] = self_approval
    if second_factor_required is not None:
        given["second_factor_required"] = second_factor_required
    changes = {key: [getattr(tenant, key), value] for key, value in given.items() if getattr(tenant, key) != value}
    if not changes:
        unchanged("all of it is so already")
        return False
    _check_month(tenant.timezone, timezone)
    Tenant.objects.filter(id=tenant.id).update(**given)
    record(TENANT_CHANGED, actor=actor, target=tenant, changes=changes)
    if "timezone" in changes:
        events.publish(events.TimeZoneChanged(tenant_id=tenant.id))
    return True


def _check_month(before: str, after: str) -> None:
    """Refuse to go back to a past month: its budgets are closed, and would be spent a second time."""
    present = now()
    old, new = (present.astimezone(zoneinfo.ZoneInfo(zone)) for zone in (before, after))
    if (new.year, new.month) < (old.year, old.month):
        message = f"In this time zone it is still {new:%B}, whose budgets are closed here. Change it when {old:%B} has begun there, too."
        raise Invalid(fields={"timezone": [message]})


def check_password(password: str) -> None:
    """Raise `Invalid` for a password that an operator may not set."""
    try:
        password_validation.validate_password(password, password_validators=OPERATOR_RULES)
    except ValidationError as error:
        raise Invalid(fields={"password": list(error.messages)}) from error


def find_or_create_user(*, email: str, password: str | None, name: str = "") -> User:
    """Return the account with this address, created if missing; an existing one is never changed. Raises Conflict."""
    email = check_email(email)
    user = User.objects.filter(email=email, is_operator=False).first()
    if user is not None:
        if user.provider_only:
            raise Conflict("An identity provider made the account of this address. Use another address.")
        return user
    if password is not None:
        check_password(password)
    with transaction.atomic():
        return User.objects.create_user(email, password, name=name)


@operation(PROJECT_CREATED)
def create_project(*, actor: Actor, slug: str, name: str, restricted: bool = False) -> Project:
    """Create a project (cost centre).

    Raises `Conflict` if the short name is taken, `Invalid` for a name that looks like another one's.
    """
    actor.require("projects.manage")
    check_slug(slug)
    name = free_name(check_text(name, "name"))
    if Project.objects.filter(slug=slug).exists():
        raise Conflict(f"A project {slug!r} already exists.")
    project = Project.objects.create(slug=slug, name=name, restricted=restricted)
    changes = {"name": [None, name], **({"restricted": [None, True]} if restricted else {})}
    record(PROJECT_CREATED, actor=actor, target=project, changes=changes)
    return project


@operation(PROJECT_CHANGED)
def change_project(
    *, actor: Actor, project_id: UUID, name: str | None = None, restricted: bool | None = None
) -> Project:
    """Rename a project, restrict it to those with a grant in it, or open it. What is omitted stays.

    Effective with the next request. Raises NotFound, PermissionDenied, Invalid.
    """
    actor.require("projects.manage")
    project = _project(actor, project_id)
    changes: dict[str, Any] = {}
    if name is not None and check_text(name, "name") != project.name:
        changes["name"] = [project.name, free_name(check_text(name, "name"), project.id)]
    if restricted is not None and restricted != project.restricted:
        changes["restricted"] = [project.restricted, restricted]
    if not changes:
        unchanged("all of it is so already")
        return project
    for field, (_, value) in changes.items():
        setattr(project, field, value)
    project.save(update_fields=list(changes))
    record(PROJECT_CHANGED, actor=actor, target=project, changes=changes)
    if "restricted" in changes and restricted:
        events.publish(events.ProjectRestricted(tenant_id=actor.tenant_id, project_id=project.id))
    return project


@operation(PROJECT_ARCHIVED)
def archive_project(*, actor: Actor, project_id: UUID) -> Project:
    """Let nothing new start in a project. What runs in it goes on, what it holds stays. Raises NotFound, PermissionDenied, Conflict."""
    actor.require("projects.manage")
    project = _project(actor, project_id)
    if project.slug == DEFAULT_PROJECT:
        raise Conflict("Work that names no project goes to this one, so it cannot be archived.")
    return _archive(actor, project, True)


@operation(PROJECT_RESTORED)
def restore_project(*, actor: Actor, project_id: UUID) -> Project:
    """Let work start in an archived project again. Raises NotFound, PermissionDenied."""
    actor.require("projects.manage")
    return _archive(actor, _project(actor, project_id), False)


def _archive(actor: Actor, project: Project, archived: bool) -> Project:
    if (project.archived_at is not None) == archived:
        unchanged("it is so already")
        return project
    project.archived_at = now() if archived else None
    project.save(update_fields=["archived_at"])
    action = PROJECT_ARCHIVED if archived else PROJECT_RESTORED
    record(action, actor=actor, target=project, changes={"archived": [not archived, archived]})
    return project


def _project(actor: Actor, project_id: UUID) -> Project:
    check_sight(actor, project_id)
    project = Project.objects.select_for_update(no_key=True).filter(id=project_id).first()
    if project is None:
        raise NotFound
    return project


@operation(DATA_KEY_ROTATED)
def rotate_data_key(*, actor: Actor) -> int:
    """Give a tenant's new files a new data key; old files stay readable. Returns the version."""
    before = keys.newest_version(actor.tenant_id)
    version = keys.new_version(actor.tenant_id, after=before).version
    record(DATA_KEY_ROTATED, actor=actor, changes={"version": [before or None, version]})
    return version
