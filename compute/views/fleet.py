"""The console's fleet: hosts, devices, missing sandbox layers, and cordoning devices."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST, require_safe

from compute.fleet import capacity, fleet, machines, shares
from compute.views.cluster import cluster_page, cost_withdrawn, rule_chosen
from compute.views.idle_console import idle_rule_removed, idle_work
from compute.views.machines import node_act, node_join, node_labels, node_token_made, node_token_revoked
from compute.views.simulation import ceiling_simulation
from tenants.errors import ExchequerError, Invalid, NotFound
from tenants.operators.pages import OperatorRequest, operator_page


@require_safe
@operator_page("fleet.view")
def fleet_page(request: OperatorRequest) -> HttpResponse:
    """Show every host and device."""
    return _render(request)


@require_POST
@operator_page("fleet.manage")
def device_cordon(request: OperatorRequest, device_id: UUID) -> HttpResponse:
    """Cordon a device."""
    return _change(request, device_id, fleet.cordon, "takes no more work. Running work continues to its end.")


@require_POST
@operator_page("fleet.manage")
def device_uncordon(request: OperatorRequest, device_id: UUID) -> HttpResponse:
    """Uncordon a device."""
    return _change(request, device_id, fleet.uncordon, "takes work again.")


@require_POST
@operator_page("fleet.manage")
def shares_set(request: OperatorRequest) -> HttpResponse:
    """Open a class of devices for shares, or close it."""
    device_class, reason = request.POST.get("device_class", ""), request.POST.get("reason", "")
    wanted = request.POST.getlist("shares")
    try:
        made = shares.set_shares(operator=request.operator, device_class=device_class, shares=wanted, reason=reason)
    except NotFound:
        raise
    except ExchequerError as refused:
        fields = refused.fields.values() if isinstance(refused, Invalid) else ()
        said = " ".join(text for texts in fields for text in texts) or refused.message
        sharing = {"device_class": device_class, "shares": wanted, "reason": reason}
        return _render(request, sharing=sharing, unshared=said, status=refused.status)
    said = f"may be shared: {', '.join(made.shares)}" if made.shares else "are not shared any more"
    messages.success(request, f"{made.class_title} devices {said}.")
    return redirect("operator-fleet")


def _change(request: OperatorRequest, device_id: UUID, act: Callable[..., None], done: str) -> HttpResponse:
    reason = request.POST.get("reason", "")
    try:
        act(operator=request.operator, device_id=device_id, reason=reason)
    except NotFound:
        raise
    except ExchequerError as refused:
        return _render(request, asked=device_id, reason=reason, refused=refused.message, status=refused.status)
    messages.success(request, f"The device {done}")
    return redirect("operator-fleet")


def _render(request: OperatorRequest, *, status: int = 200, **given: object) -> HttpResponse:
    nodes = fleet.nodes()
    devices = [device for node in nodes for device in node.devices if device.state != "gone"]
    context = {
        "nodes": nodes,
        "wanted": capacity.wanted(),
        "classes": shares.classes(),
        "offered": shares.OFFERED,
        "tokens": machines.open_tokens(),
        "alive": sum(node.state == "alive" for node in nodes),
        "known": f"of {len(nodes)} registered",
        "busy": sum(device.busy for device in devices),
        "of_all": f"of {len(devices)} on show",
        "cordoned": sum(device.state == "cordoned" for device in devices),
        "lacking": sum(bool(node.missing_layers) for node in nodes),
        **given,
    }
    return render(request, "compute/fleet.html", context, status=status)


urlpatterns: list[URLPattern] = [
    path("", fleet_page, name="operator-fleet"),
    path("bill/", cluster_page, name="operator-cluster"),
    path("bill/rule/", rule_chosen, name="operator-cluster-rule"),
    path("bill/costs/<uuid:cost_id>/withdraw/", cost_withdrawn, name="operator-cost-withdraw"),
    path("idle/", idle_work, name="operator-idle"),
    path("idle/remove/", idle_rule_removed, name="operator-idle-rule-remove"),
    path("simulation/<uuid:tenant_id>/", ceiling_simulation, name="operator-quota-simulation"),
    path("shares/", shares_set, name="device-shares"),
    path("join/", node_join, name="node-join"),
    path("tokens/", node_token_made, name="node-token"),
    path("tokens/<uuid:token_id>/revoke/", node_token_revoked, name="node-token-revoke"),
    *(path(f"nodes/<uuid:node_id>/{act}/", node_act, {"act": act}, name=f"node-{act}") for act in machines.ACTS),
    path("nodes/<uuid:node_id>/labels/", node_labels, name="node-labels"),
    path("devices/<uuid:device_id>/cordon/", device_cordon, name="device-cordon"),
    path("devices/<uuid:device_id>/uncordon/", device_uncordon, name="device-uncordon"),
]
