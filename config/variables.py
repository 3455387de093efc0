"""Environment variables as people set them: secrets from files, and misspelt names of settings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

OURS = "EXCHEQUER_"
#: Similarity to a setting's name from which another name is probably a misspelling: 0 to 1.
ALIKE = 0.75
#: Kubernetes sets these for the services of a pod: nobody typed them.
LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)")

#: What it, or a link of containers, puts into NAME_PORT of a service whose name is the start of a setting's.
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+")

#: The settings that are never shown.
SECRETS = frozenset(
    {
        "secret_key",
        "secret_key_previous",
        "serving_key",
        "master_key",
        "audit_key",
        "master_key_previous",
        "database_app_url",
        "database_control_url",
        "database_owner_url",
        "database_operator_url",
        "database_admin_url",
        "broker_url",
        "cache_url",
        "aws_secret_access_key",
        "email_url",
        "init_password",
        "init_api_key",
        "init_operator_password",
        "init_operator_api_key",
        "metrics_token",
        "node_secret",
        "stripe_api_key",
        "stripe_webhook_secret",
    }
)


class Unreadable(Exception):
    """Files named by variables cannot be read; the message has a line for each."""


def chosen(variables: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return what somebody gave of `names`: not what is empty, nor the address of a service in place of a port."""
    found = {name: variables[name] for name in names if variables.get(name)}
    return {
        name: value
        for name, value in found.items()
        if not (name.endswith("_PORT") and SERVICE_ADDRESS.fullmatch(value.strip()))
    }


def from_files(variables: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return NAME with the content of the file in NAME_FILE, for each of `names` without a value.

    Raises `Unreadable` naming every file that is missing, unreadable, empty or not text.
    """
    found, faults = {}, []
    for name in names:
        file = variables.get(f"{name}_FILE", "")
        if not file or variables.get(name):
            continue
        try:
            found[name] = Path(file).read_text().strip()
        except OSError as error:
            faults.append(f"{name}_FILE: cannot read {file}: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"{name}_FILE: {file} is not a text file")
        else:
            if not found[name] or "\0" in found[name]:
                faults.append(f"{name}_FILE: {file} {'holds a NUL byte' if found[name] else 'is empty'}")
    if faults:
        raise Unreadable("\n".join(faults))
    return found


def slips(variables: Collection[str], names: Collection[str]) -> dict[str, str]:
    """Return, for each given name that resembles a setting but is none, the setting probably meant."""
    known = {*names, *(f"{name}_FILE" for name in names)}
    endings = {name.removeprefix(OURS): name for name in known if name.startswith(OURS)}
    found = {}
    for name in variables:
        # Without the prefix, which would make any two names similar.
        wanted = name.removeprefix(OURS)
        if name not in known and wanted != name and not LINK.search(name):
            for like in difflib.get_close_matches(wanted, endings, 1, ALIKE):
                found[name] = endings[like]
    return found


def home(variables: Mapping[str, str]) -> Path:
    """Return the state folder of the installation, from any current directory."""
    named = Path(variables.get("EXCHEQUER_HOME") or ".exchequer").expanduser()
    return Path(__file__).parent.parent / named


def mask(value: str) -> str:
    """Return a secret value masked; of a URL, its password alone."""
    parts = urlsplit(value)
    if parts.scheme and parts.password:
        netloc = parts.netloc.replace(f":{parts.password}@", ":***@")
        return urlunsplit(parts._replace(netloc=netloc))
    return "***"
