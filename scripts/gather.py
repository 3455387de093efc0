"""Write `docs/invariants.md` from the apps' READMEs: `python scripts/gather.py`."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APPS = ("tenants", "billing", "compute", "models_app", "dashboards", "deploy")
ROW = re.compile(r"^\| [A-Z]+\d+ \| .+ \| .+ \| .+ \|$", re.MULTILINE)


def main() -> None:
    """Gather the rows of every app under one heading each."""
    parts = [
        "# Invariants\n",
        "Each row comes from the README of its app. The tests show it; `tests/architecture` checks that they exist.\n",
    ]
    for app in APPS:
        readme = ROOT / app / "README.md"
        rows = ROW.findall(readme.read_text()) if readme.is_file() else []
        if rows:
            parts += [
                f"## {app}\n",
                "| id | invariant | figure | test |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n",
            ]
    (ROOT / "docs/invariants.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
