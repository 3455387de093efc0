"""What ends when a project is restricted: credentials for it by those who no longer see into it."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.rights import Rights
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.events.events import ProjectRestricted, subscribe
from tenants.identity import provenance
from tenants.models import Membership, Project, ServiceAccount
from tenants.rights import held

CREDENTIALS_ENDED = AuditAction("tenants.project.credentials_ended")


@subscribe(ProjectRestricted)
def _restricted(event: ProjectRestricted) -> None:
    end_unseen(actor=Actor.system(event.tenant_id, "projects"), project_id=event.project_id)


@operation(CREDENTIALS_ENDED)
def end_unseen(*, actor: Actor, project_id: UUID) -> int:
    """Revoke the endpoint keys and API keys for a restricted project whose creators do not see into it; return how many."""
    project = Project.objects.filter(id=project_id, restricted=True).first()
    if project is None:
        unchanged("the project is open again")
        return 0
    # Without its name: those who do not see into it read these entries too.
    reason, ended = "a project that its creator does not see into was restricted", 0
    members = Membership.objects.select_for_update(no_key=True).order_by("id").values_list("id", flat=True)
    people = provenance.with_credentials(list(members))
    for row_id, rights in held.rights_of_members(sorted(people)).items():
        ended += _shrunk(actor, provenance.of_member(row_id), rights, reason)
    for row_id in ServiceAccount.objects.select_for_update(no_key=True).order_by("id").values_list("id", flat=True):
        rights = held.rights_of_account(row_id)
        ended += _shrunk(actor, provenance.of_service_account(row_id), rights, reason)
    if ended:
        record(CREDENTIALS_ENDED, actor=actor, target=project, changes={"credentials": [ended, 0]})
    else:
        unchanged("nobody made a credential for it without seeing into it")
    return ended


def _shrunk(actor: Actor, root: Q, rights: Rights, reason: str) -> int:
    number = len(provenance.ending(root, rights))
    if number:
        provenance.shrink(actor=actor, root=root, to=rights, reason=reason)
    return number
