"""The launcher on a host whose kernel has no Landlock."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from compute.sandbox import landlock, launch

landlock.abi = lambda: 0
launch.main(sys.argv[1:])
