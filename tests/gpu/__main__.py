"""`make test-gpu`: prove on a GPU what only a GPU can prove, in under five minutes; print a table for docs/figures.md.

Exit codes: 0 all rows hold, 1 some do not, 3 this machine has no GPU that torch could open. `--cpu` runs the same on a CPU
device, as far as that has a meaning; it proves the checks, not a GPU.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
import time
from pathlib import Path

from compute.devices.base import Found
from compute.devices.nvml import NvmlSampler

NO_GPU = 3


def lacking(found: list[Found]) -> str:
    """Return why there is nothing to test on; empty if torch sees a GPU."""
    if not found:
        return "no GPU answers through NVIDIA's driver library (libnvidia-ml.so.1): install the driver, or look at `nvidia-smi`"
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA: install torch {torch.__version__.partition('+')[0]} with CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} opens none of the {len(found)} GPUs that the driver shows: compare driver and CUDA {torch.version.cuda}"
    return ""


def main() -> int:
    """Run the checks and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="run on a CPU device what has a meaning there")
    options = parser.parse_args()
    driver = NvmlSampler()
    found = driver.inventory()
    reason = "" if options.cpu else lacking(found)
    if reason:
        print(f"test-gpu cannot run here: {reason}.\nNothing was tested.", file=sys.stderr)
        return NO_GPU
    from tests.gpu import checks

    # The last of several: that the first is opened by default proves nothing.
    device = Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 8 << 30) if options.cpu else found[-1]
    began, faults = time.monotonic(), 0
    torch_version, version = importlib.metadata.version("torch"), driver.driver_version() or "none"
    print(f"{device.name} ({device.uuid}), driver {version}, torch {torch_version}\n")
    print("| check | measured | must be | holds | s |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="exchequer-gpu-") as folder:
        Path(folder).chmod(0o711)
        for row in checks.run(checks.Bench(device, Path(folder), driver)):
            faults += row.works is False
            shown = {True: "yes", False: "**no**", None: "–"}[row.works]
            print(f"| {row.name} | {row.measured} | {row.must} | {shown} | {row.seconds:.1f} |", flush=True)
    print(f"\n{'all hold' if not faults else f'{faults} do not hold'}; {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
