"""Layout: folder sizes, tests beside their subjects, stable names."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("config", "dashboards", "models_app", "compute", "billing", "tenants", "deploy")
MOST = 15
MIRRORED = ("unit", "component", "integration", "api")


def test_no_folder_has_more_than_fifteen_modules() -> None:
    counts = Counter(
        str(path.parent.relative_to(ROOT))
        for top in (*APPS, "bench", "scripts", "tests")
        for path in (ROOT / top).rglob("*.py")
        if "migrations" not in path.parts and path.name not in ("__init__.py", "conftest.py")
    )
    assert {folder: count for folder, count in counts.items() if count > MOST} == {}


def test_every_package_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for top in APPS
        for path in (ROOT / top).rglob("__init__.py")
        if not {"migrations", "management", "templatetags"} & set(path.parts) and not path.read_text().startswith('"""')
    ]
    assert silent == []


def test_tests_lie_in_folders_of_their_apps() -> None:
    others = [
        str(folder.relative_to(ROOT))
        for kind in MIRRORED
        for folder in (ROOT / "tests" / kind).iterdir()
        if folder.is_dir() and folder.name not in (*APPS, "bench", "__pycache__")
    ]
    assert others == []


def test_documents_name_folders_that_exist() -> None:
    papers = [ROOT / "docs" / "architecture.md", *(ROOT / app / "README.md" for app in APPS)]
    named = {
        (path, paper.relative_to(ROOT).as_posix())
        for paper in papers
        if paper.exists()
        for path in re.findall(rf"`((?:{'|'.join(APPS)})/[\w./]+)", paper.read_text())
    }
    assert named
    assert [(path, paper) for path, paper in sorted(named) if not (ROOT / path).exists()] == []
