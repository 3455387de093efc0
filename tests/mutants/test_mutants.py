"""Each mutant of the code that grants or hides is noticed by a test (T11).

At night some of each module, as they take half a minute each; `MUTANTS=tenants/projects/sight.py` takes all of a module.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import pytest

from tests.mutants.mutants import Mutant, mutants_of
from tests.support.servers import kept_data

ROOT = Path(__file__).resolve().parent.parent.parent
RIGHTS = (
    "tests/integration/tenants/test_rights.py",
    "tests/integration/tenants/test_rights_end.py",
    "tests/api/test_matrix.py",
)
SIGHT = (
    "tests/api/models_app/test_nothing_restricted.py",
    "tests/api/models_app/test_restricted_projects.py",
    "tests/api/models_app/test_restricted.py",
)
HANDED = (
    "tests/api/tenants/sight/test_by_project.py",
    "tests/api/tenants/sight/test_keys.py",
    "tests/api/tenants/sight/test_out_of_sight.py",
)
SHARED = ("tests/api/tenants/sight/test_by_project.py", "tests/api/models_app/test_share_gives_use.py")
KEYS = ("tests/api/tenants/test_credentials.py", "tests/api/tenants/test_entry.py", "tests/api/tenants/test_scopes.py")
GRANTED = ("tests/api/tenants/test_rights_api.py", "tests/api/tenants/test_access_pages.py")
DOOR = (
    "tests/unit/tenants/test_pagination.py",
    "tests/api/tenants/test_parameters.py",
    "tests/api/tenants/test_entry.py",
    "tests/api/test_bad_input.py",
)
CONSOLE = tuple(f"tests/api/tenants/console/test_console_{name}.py" for name in ("matrix", "pages"))
#: The modules that decide, and the tests that should notice, the quickest first.
TESTED = {
    "tenants/access/actor.py": (
        *RIGHTS,
        *KEYS,
        "tests/api/tenants/console/test_standing.py",
        "tests/integration/models_app/test_erasure.py",
    ),
    "tenants/access/rights.py": ("tests/unit/tenants/test_rights.py", *RIGHTS, *HANDED, *SIGHT),
    "tenants/projects/sight.py": (*HANDED, *SIGHT, *KEYS),
    "tenants/sharing/shares.py": (*SHARED, *SIGHT),
    "tenants/identity/api_keys.py": (*KEYS, "tests/integration/tenants/test_bootstrap.py", *HANDED, *RIGHTS, *SIGHT),
    "tenants/grants/grants.py": (*RIGHTS, *HANDED, *GRANTED),
    "tenants/grants/roles.py": (*RIGHTS, *GRANTED),
    "tenants/grants/groups.py": (*RIGHTS, *GRANTED, *HANDED),
    "tenants/web/views.py": ("tests/api/test_matrix.py", *DOOR),
    "tenants/operators/operator.py": CONSOLE,
    "models_app/access.py": (*SHARED, *SIGHT, "tests/integration/models_app/test_datasets.py"),
    "compute/jobs/visibility.py": SIGHT,
}
KILLED_PERCENT = 95
FEWEST = 60
A_MODULE = 10
A_RUN_S = 900
AT_ONCE = 2


@pytest.mark.nightly
def test_changes_of_what_grants_or_hides_are_noticed(tmp_path: Path) -> None:
    trees: Queue[Path] = Queue()
    for number in range(AT_ONCE):
        trees.put(copy_of_the_sources(tmp_path / str(number)))

    def survives(mutant: Mutant) -> bool:
        tree = trees.get()
        try:
            return passes(tree, mutant)
        finally:
            trees.put(tree)

    chosen = os.environ.get("MUTANTS", "").split() or list(TESTED)
    mutants = [
        mutant for name in chosen for mutant in some(list(mutants_of(ROOT / name, name)), whole=len(chosen) == 1)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        alive = list(pool.map(survives, mutants))
    survived = [f"{mutant.path}: {mutant.what}" for mutant, lives in zip(mutants, alive, strict=True) if lives]
    assert len(mutants) >= FEWEST or chosen != list(TESTED)
    assert 100 * (len(mutants) - len(survived)) >= KILLED_PERCENT * len(mutants), survived


def test_a_mutant_differs_from_its_module_in_one_place() -> None:
    for name in TESTED:
        before = (ROOT / name).read_text()
        found = list(mutants_of(ROOT / name, name))
        assert found, name
        for mutant in found:
            compile(mutant.text, name, "exec")
            assert mutant.text != before, mutant.what


def some(mutants: list[Mutant], *, whole: bool) -> list[Mutant]:
    """Return all mutants of a module, or a few spread over it: always the same ones."""
    step = 1 if whole else math.ceil(len(mutants) / A_MODULE)
    return mutants[::step]


def copy_of_the_sources(folder: Path) -> Path:
    """Return a copy of the files that git knows, in which the mutants are laid one after the other."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def passes(tree: Path, mutant: Mutant) -> bool:
    """Return whether all tests of its module pass with a mutant: then nobody noticed it."""
    place = tree / mutant.path
    before = place.read_text()
    place.write_text(mutant.text)
    began = time.monotonic()
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTED[mutant.path]]
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "CHROMIUM")}
        # A mutant migrates nothing otherwise: all use the data of the first.
        kept[kept_data.AS_OF] = "mutants"
        done = subprocess.run(command, cwd=tree, env=kept, capture_output=True, timeout=A_RUN_S, check=False)
    except subprocess.TimeoutExpired:
        return False  # tests that never end do notice it
    finally:
        place.write_text(before)
    took = time.monotonic() - began
    logging.getLogger(__name__).info("%s in %.0f s: %s: %s", done.returncode, took, mutant.path, mutant.what)
    return done.returncode == 0
