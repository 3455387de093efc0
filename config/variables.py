"""Environment variables as people give them: secrets from files, and names that look like a setting's and are none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

OURS = "EXCHEQUER_"
#: How like a setting's name another name is when it is probably a slip: 0 to 1.
ALIKE = 0.75
#: Kubernetes tells every pod of the services beside it so: nobody typed these.
LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)")

#: What it, or a link of containers, puts into NAME_PORT of a service whose name is the start of a setting's.
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


class Unreadable(Exception):
    """Files that variables name cannot be read; the message has a line for each."""


def chosen(variables: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return what somebody gave of `names`: not what is empty, nor the address of a service in place of a port."""
    found = {name: variables[name] for name in names if variables.get(name)}
    return {
        name: value
        for name, value in found.items()
        if not (name.endswith("_PORT") and SERVICE_ADDRESS.fullmatch(value.strip()))
    }


def from_files(variables: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return NAME by the content of the file that NAME_FILE names, for each of `names` that has no value itself.

    Raises `Unreadable` naming every file that is missing, closed, empty or no text.
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
    """Return, by each given name that is no setting and reads like one, the setting that was probably meant."""
    known = {*names, *(f"{name}_FILE" for name in names)}
    endings = {name.removeprefix(OURS): name for name in known if name.startswith(OURS)}
    found = {}
    for name in variables:
        # Without the prefix: what all names share would make any two alike.
        wanted = name.removeprefix(OURS)
        if name not in known and wanted != name and not LINK.search(name):
            for like in difflib.get_close_matches(wanted, endings, 1, ALIKE):
                found[name] = endings[like]
    return found


def home(variables: Mapping[str, str]) -> Path:
    """Return the state folder of the installation, from wherever the command is typed."""
    named = Path(variables.get("EXCHEQUER_HOME") or ".exchequer").expanduser()
    return Path(__file__).parent.parent / named
