"""Serve the peer by waitress, as many processes and threads as the product has.

python -m bench.plain_usage token        makes its tables and prints a token
python -m bench.plain_usage serve PORT
"""

from __future__ import annotations

import os
import sys

import waitress

from bench import plain_drf
from deploy import procfs
from deploy.server.web import THREADS, listen

PROCESSES = 2


def main() -> None:
    """Do what the first argument says."""
    application = plain_drf.application(apps=["bench.plain_usage"], urls="bench.plain_usage.urls")
    if sys.argv[1] == "token":
        print(plain_drf.token())
        return
    listener = listen("127.0.0.1", int(sys.argv[2]))
    for _ in range(PROCESSES - 1):
        if os.fork() == 0:
            procfs.die_with_parent()
            break
    waitress.serve(application, sockets=[listener], threads=THREADS, connection_limit=1000)


if __name__ == "__main__":
    main()
