"""What the environment of a node that joined may hold: its own secret and login, and nothing of the platform's."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from tenants.outbound import straight

SECRET, PLATFORM = "EXCHEQUER_NODE_SECRET", "EXCHEQUER_PLATFORM_URL"
#: What serving nodes sign with, and have of SECRET_KEY; who has that derives it.
SERVING = "EXCHEQUER_SERVING_KEY"
#: Where kombu keeps what a worker took from a queue of Valkey and has not carried out yet.
BROKER_NAMES = ("unacked", "unacked_index", "unacked_mutex")
#: A node is handed what it needs of these, for the work that lives on it.
OF_THE_PLATFORM = (
    "EXCHEQUER_MASTER_KEY",
    "EXCHEQUER_MASTER_KEY_FILE",
    "EXCHEQUER_MASTER_KEY_PREVIOUS",
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "EXCHEQUER_AUDIT_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "DATABASE_CONTROL_URL",
    "DATABASE_OWNER_URL",
    "DATABASE_OPERATOR_URL",
    "DATABASE_ADMIN_URL",
)


def is_node(values: Mapping[str, str]) -> bool:
    """Return whether these are the variables of a node that joined."""
    return bool(values.get(SECRET) or values.get(f"{SECRET}_FILE"))


def is_given(values: Mapping[str, str]) -> bool:
    """Return whether these are the variables of a process of ours: they hold SECRET_KEY, or what stands for it."""
    return is_node(values) or any(values.get(name) or values.get(f"{name}_FILE") for name in ("SECRET_KEY", SERVING))


def serving_key(secret_key: str) -> str:
    """Return what serving nodes sign with, in hex: HMAC-SHA256 of its purpose, under SECRET_KEY."""
    return hmac.digest(secret_key.encode(), b"exchequer.serving", "sha256").hex()


def completed(values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables, of a node with a SECRET_KEY of this process alone, and what must not be so, a line each."""
    given, alone = values.get("SECRET_KEY", ""), {"SECRET_KEY": secrets.token_urlsafe(48)}
    if not values.get(SECRET):
        signing = values.get(SERVING) or (serving_key(given) if given else "")
        return {**(alone if signing and not given else {}), **values, SERVING: signing}, []
    faults = [
        f"{name}: this machine is a node, and must not hold it: a thief of the machine would have it. Remove it; the "
        "platform hands out what an attempt needs"
        for name in OF_THE_PLATFORM
        if values.get(name)
    ]
    if not is_safe(values.get(PLATFORM, "")):
        faults.append(
            f"{PLATFORM}: give the address of the product with https://; on this machine also http:// or unix:/PATH"
        )
    return {**values, **alone}, faults


def broker_options(node: str) -> dict[str, str]:
    """Return the names under which a node keeps what it took from Valkey's queue: its broker user can reach no others."""
    return {f"{name}_key": f"{name}.{node}" for name in BROKER_NAMES}


def is_safe(url: str) -> bool:
    """Return whether a secret may be sent to an address: over https, or on this machine by http or a unix socket."""
    parts = urlsplit(url)
    if straight.socket_of(url):
        return True
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and on_this_machine(parts.hostname or "")


def on_this_machine(host: str) -> bool:
    """Return whether a host is this machine's own loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
