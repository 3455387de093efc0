"""The child process that typesets one document: JSON on its input, the PDF on its output.

Called as `python -I typeset.py TEMPLATE SECONDS BYTES` in an empty folder. It imports nothing of the product, and no other process imports
typst: native code that sees texts of tenants ends with its own memory and time.
"""

import json
import resource
import sys
from pathlib import Path


def main(template: str, seconds: int, memory: int) -> None:
    """Typeset `data` at the second `made`; `form` is pdf, or png for tests, of which the first page is written."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    import typst

    asked = json.load(sys.stdin.buffer)
    # The template comes as bytes and its root is this empty folder: there is no file to read, and no package to load.
    nowhere = str(Path.cwd())
    compiler = typst.Compiler(
        Path(template).read_bytes(),
        root=nowhere,
        font_paths=typst.Fonts(include_system_fonts=False, include_embedded_fonts=True),
        ignore_system_fonts=True,
        sys_inputs={"data": json.dumps(asked["data"])},
        package_path=nowhere,
        package_cache_path=nowhere,
    )
    pages = compiler.compile(format=asked["form"], timestamp=asked["made"])
    for page in pages if isinstance(pages, list) else [pages]:
        sys.stdout.buffer.write(page or b"")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
