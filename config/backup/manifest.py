"""The manifest of a backup. It is written last: a folder without one is not a backup."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
MANIFEST, DUMP, LIST, OBJECTS = "manifest.json", "database.dump", "objects.jsonl", "objects"
KEY = re.compile(r"t/[0-9a-f-]{36}(/[a-z0-9][a-z0-9-]*)+\Z")


class BackupError(Exception):
    """A backup cannot be made, read or restored."""


@dataclass(frozen=True)
class Copied:
    """One object as stored: its key, and size and sha256 of its ciphertext."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a restore must reproduce."""

    format: int
    made_at: str
    migrations: list[str]
    master_keys: list[str]
    tables: dict[str, dict[str, int]]
    dump_sha256: str
    list_sha256: str
    objects: int


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically."""
    draft = folder / f".{MANIFEST}"
    draft.write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True))
    draft.replace(folder / MANIFEST)


def read(folder: Path) -> Manifest:
    """Return the manifest of a folder after checking its dump and list. Raises BackupError."""
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(f"{folder} is not a complete backup: its {MANIFEST} is missing or cannot be read") from error
    if manifest.format != FORMAT:
        raise BackupError(f"{folder} is a backup of format {manifest.format}; this version reads {FORMAT}")
    for name, wanted in ((DUMP, manifest.dump_sha256), (LIST, manifest.list_sha256)):
        if not (folder / name).is_file() or sha256_of(folder / name) != wanted:
            raise BackupError(f"{folder / name} is damaged: its sha256 differs from the manifest")
    return manifest


def write_list(folder: Path, copied: list[Copied]) -> None:
    """Write the list of the backup's objects, one per line."""
    lines = [json.dumps(asdict(one)) for one in sorted(copied, key=lambda one: one.key)]
    (folder / LIST).write_text("".join(f"{line}\n" for line in lines))


def read_list(folder: Path) -> list[Copied]:
    """Return the objects of a backup, each verified against its sha256. Raises BackupError."""
    found = [Copied(**json.loads(line)) for line in (folder / LIST).read_text().splitlines()]
    for one in found:
        file = path_of(folder, one.key)
        if not file.is_file() or sha256_of(file) != one.sha256:
            raise BackupError(f"{file} is missing or damaged")
    return found


def path_of(folder: Path, key: str) -> Path:
    """Return the path of an object in a backup. Raises BackupError unless the key is an object key."""
    if not KEY.match(key):
        raise BackupError(f"{key!r} is not an object key")
    return folder / OBJECTS / key


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
