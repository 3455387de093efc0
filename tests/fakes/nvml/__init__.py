"""Builds the stand-in driver library that the real pynvml loads in tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("standin.c")


@dataclass(frozen=True)
class Driver:
    """A compiled stand-in: `environment` makes a new process load it, `show` sets its devices."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables for a process that loads this library with its devices."""
        return {"LD_LIBRARY_PATH": str(self.folder), "NVML_STANDIN": str(self.folder / "devices.txt")}

    def show(self, *lines: str) -> None:
        """Replace the devices: `uuid|name|total|used|percent|ok[|milliwatts[|millijoules[|ECC errors[|XID[|degrees[|reasons[|links]]]]]]]`, a line each."""
        (self.folder / "devices.txt").write_text("".join(f"{line}\n" for line in lines))


def build(folder: Path) -> Driver:
    """Compile the stand-in into `folder` with cc, or with the zig wheel if there is no C compiler."""
    compiler = ["cc"] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc"]
    library = folder / "libnvidia-ml.so.1"
    command = [*compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    driver = Driver(folder)
    driver.show()
    return driver
