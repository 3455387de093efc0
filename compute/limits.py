"""Limits of this app in one place. Seconds and bytes."""

import math

VERSION = "0.1.0"
"""The version of this code, also of its package (pyproject.toml)."""

RELEASE = int(VERSION.split(".")[1])
"""The release of this code: the second part of the version. Nodes of the one before and the one after work with it."""

RELEASES = (RELEASE - 1, RELEASE + 1)
"""The oldest and the newest release of nodes that are given work."""

STOP_GRACE_S = 5.0
"""Time between the request to stop a child and the end of its process group; the hold includes it."""

OWN_CRASHES = 3
INFRASTRUCTURE_KILLS = 20
BACKOFF_S = (1.0, 60.0)
"""First and longest delay before a job that failed to start or crashed is retried."""

UNRESPONSIVE_AFTER_S = 60.0
"""How long a live node may leave a wake-up unanswered, and an idle one may receive none."""

ARTIFACT_PATIENCE_S = 900.0
"""How long storing results is retried before the job fails with cause `artifact`."""

MOST_DEVICES = 64
"""Most devices of one job."""

PARTS = (2, 4, 5, 8, 10)
"""Into how many parts a device may be divided: whole thousandths each."""

MOST_PARTS = max(PARTS)

MOST_SECONDS = 30 * 24 * 3600
DEFAULT_TIMES, DEFAULT_LEAST_S = 3, 180


def default_seconds(most_s: float) -> int:
    """Return the default time limit of a job: three times the end of nine runs of ten, in whole minutes."""
    return min(MOST_SECONDS, 60 * math.ceil(max(DEFAULT_LEAST_S, DEFAULT_TIMES * most_s) / 60))


def most_threads(of_device: int) -> int:
    """Return the thread limit of a child: several pools as wide as its device, and threads that libraries start."""
    return 256 + 8 * of_device


MOST_JOBS = 100
"""The most jobs of an array."""

LOG_LINE_CHARS = 2_000
LOG_LINES = 20_000
METRICS = 100_000
METRIC_VALUES = 64
EVENT_LINE_BYTES = 65_536
CHILD_FILE_BYTES = 4 * 1024**3
CHILD_ADDRESS_SPACE = 8 * 1024**3
SAID_BYTES_S, SAID_AT_ONCE, LINE_BYTES = 512 * 1024, 4 * 1024**2, 256
"""Throttle of a child's output: bytes per second, after an initial burst; a line counts this many bytes more."""

FIRST_CHILD_UID = 61_000
MEMORY_SHARE_THAT_IS_FULL = 0.8
