"""The data of a migrated PostgreSQL, kept from one test session to the next.

Migrating an empty database takes longer than most runs of a few tests. The data are kept under a digest of everything
that they were made from: a change of a migration, a model, a role or a package has them made again.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from django.apps import apps
from filelock import FileLock

from deploy.roles import ROLES_SQL

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / ".pytest_cache" / "postgres"
#: Names the data to use, for runs of sources that differ where no migration looks: mutants of permission code.
AS_OF = "EXCHEQUER_TESTS_KEPT_DATA"
#: Those of the branch at hand, and of one to come back to.
MOST = 2
#: A session that lasts past midnight goes on with the data that it began with.
BEGAN = datetime.now(UTC).date()


def restore(data: Path) -> bool:
    """Copy the kept data of the present digest to `data`; return whether there were any."""
    with _lock():
        kept = FOLDER / digest()
        if not (kept / "PG_VERSION").exists():
            return False
        _copy(kept, data)
        os.utime(kept)
    return True


def keep(data: Path) -> None:
    """Keep the data of a server that has stopped, and remove those that were used longest ago."""
    with _lock():
        kept, unfinished = FOLDER / digest(), FOLDER / "unfinished"
        for folder in (kept, unfinished):
            shutil.rmtree(folder, ignore_errors=True)
        _copy(data, unfinished)
        unfinished.rename(kept)
        os.utime(kept)
        known = sorted((path for path in FOLDER.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for folder in known[:-MOST]:
            shutil.rmtree(folder)


def digest() -> str:
    """Return a digest of all that migrated data depend on.

    The day on which the process began is part of it: migrations make the partitions of the present.
    """
    if given := os.environ.get(AS_OF):
        return given
    installed = {path.name for place in sys.path for path in Path(place).glob("*.dist-info")}
    found = hashlib.sha256(f"{os.geteuid()} {BEGAN} {sorted(installed)}".encode())
    for path in sorted(sources()):
        found.update(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:32]


def sources() -> set[Path]:
    """Return the files that decide on migrated data.

    Models are among them because content types and permissions follow a migration, settings because both read them.
    """
    models = {Path(inspect.getfile(model)) for model in apps.get_models()}
    first = {*ROOT.glob("*/migrations/*.py"), *(path for path in models if _ours(path))}
    first |= {ROOT / "config" / name for name in ("settings.py", "management/quick_states.py")}
    first |= {Path(__file__), Path(__file__).with_name("database.py")}
    return {ROLES_SQL, *_with_imports(first)}


def _ours(path: Path) -> bool:
    return path.is_relative_to(ROOT) and "site-packages" not in path.parts


def _with_imports(first: Iterable[Path]) -> set[Path]:
    found: set[Path] = set()
    left = [*first]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path)
    return found


@cache  # parsing is nearly all the work, and each start of a server or a stack asks again
def _imported(path: Path) -> tuple[Path, ...]:
    return tuple(_files_of_imports(path))


def _files_of_imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            place = ROOT.joinpath(*name.split("."))
            yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def _copy(source: Path, target: Path) -> None:
    # With owners: PostgreSQL reads only what its account owns. Python's own copies leave them out.
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _lock() -> FileLock:
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FileLock(FOLDER / "lock")
