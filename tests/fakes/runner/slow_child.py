"""Sleeps; in stubborn mode it ignores the request to stop."""

import json
import signal
import time
from pathlib import Path

if json.loads(Path("job.json").read_text()).get("inputs", {}).get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path("ready").touch()
time.sleep(60)
