"""Build the documents as a site: `make docs` writes `build/site`.

The papers are beside their subjects (an app's README beside its code), and the site generator reads one folder. So they
are copied into one, under the same paths: relative links work in the repository and on the site.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GATHERED = ROOT / "build" / "site-sources"
PAPERS = ("*.md", "LICENSE", "*/README.md", "tests/**/README.md", "docs/**/*")


def gather() -> None:
    """Copy every paper and its pictures to `build/site-sources`."""
    shutil.rmtree(GATHERED, ignore_errors=True)
    for pattern in PAPERS:
        for source in ROOT.glob(pattern):
            if source.is_file() and not source.relative_to(ROOT).parts[0].startswith((".", "build")):
                target = GATHERED / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


def main() -> int:
    """Build the site; return 1 for a broken link."""
    gather()
    build = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--strict",
        "--clean",
        "--config-file",
        str(ROOT / "zensical.toml"),
    ]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
