"""Commands, make targets, settings and files in the documents exist."""

import re
import tomllib
from pathlib import Path

import pytest
from django.core.management import get_commands

from config.env import NAMES
from tests.architecture.test_invariants import defined_in

pytestmark = pytest.mark.xdist_group("code")

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/README.md")]
TEXTS = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in PAGES
    if page.name != "CHANGELOG.md" and page.parent.name[0] != "."
}
EXTRA = {"PYTHON", "ONLY", "BENCH_PEERS", "PY"}
TOPS = "config|dashboards|models_app|compute|billing|tenants|deploy|docs|scripts|static|templates|tests"


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_commands_that_pages_name_exist(page: str) -> None:
    text = TEXTS[page]
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z-]+)", text)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= set(get_commands())
    named = {name.removesuffix("_FILE") for name in re.findall(r"\bEXCHEQUER_[A-Z_]+[A-Z]\b", text)}
    assert named <= {name.removesuffix("_FILE") for name in NAMES}
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize(
    "page", sorted(page for page in TEXTS if page.startswith(("docs/how-to/", "tests/")) or "/" not in page)
)
def test_the_files_and_tests_that_a_guide_names_exist(page: str) -> None:
    named = re.findall(rf"`((?:{TOPS})/[\w./-]*)(?:::(\w+)|: (\w+))?", TEXTS[page])
    faults = [
        f"{path}: {name}"
        for path, *names in named
        for name in ("".join(names),)
        if not (ROOT / path).exists() or (name and name not in defined_in(ROOT / path))
    ]
    assert faults == []


def test_the_index_leads_to_every_document() -> None:
    index = ROOT / "docs/index.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#:]+)\)", index.read_text())}
    assert {page for page in TEXTS if (ROOT / page).resolve() not in linked} == {"docs/index.md"}


def test_the_walk_of_a_value_names_folders_and_never_goes_back_up() -> None:
    """In each process, the folder of a step lies in the same or a lower layer than that of the step before."""
    walk = TEXTS["docs/architecture.md"].partition("## From the launch form to the invoice line")[2]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {one["containers"][0]: one["layers"] for one in contracts if one["name"].startswith("Inside ")}
    apps = ["dashboards", "models_app", "compute", "billing", "tenants"]
    for process in walk.split("\n### ")[1:]:
        title, *steps = re.split(r"\n\d+\. ", process)
        assert steps, title
        depths = []
        for step in steps:
            found = re.search(r"`(\w+)/(\w+)", step)
            assert found, f"{title}: {step} names no folder"
            assert (ROOT / found[1] / found[2]).exists() or (ROOT / found[1] / f"{found[2]}.py").exists(), found[0]
            depth = next(i for i, layer in enumerate(layers[found[1]]) if found[2] in re.split(r" [|:] ", layer))
            depths.append((apps.index(found[1]), depth))
        assert depths == sorted(depths), f"{title} goes back up"
