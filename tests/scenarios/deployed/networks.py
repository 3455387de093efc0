"""Two network namespaces with a link, a database server on an address, and a relay between networks."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess

import pytest

from deploy.local.postgres import Cluster

PLATFORM, NODE = "10.231.7.1", "10.231.7.2"
CANNOT = (
    "This run makes network namespaces: run it as root with iproute2; "
    "type: sudo apt-get install --yes iproute2 && sudo make test-nightly"
)
#: Forwards connections: from HOST:PORT, or from an inherited listener `fd=N`, to another host and port.
RELAY = """
import asyncio, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data); await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    try:
        there = await asyncio.open_connection(sys.argv[2], int(sys.argv[3]))
    except OSError:
        writer.close(); return
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
async def main():
    import socket
    where = sys.argv[1]
    kind = {"sock": socket.socket(fileno=int(where[3:]))} if where.startswith("fd=") else dict(zip(("host", "port"), where.split(":")))
    server = await asyncio.start_server(serve, **kind)
    await server.serve_forever()
asyncio.run(main())
"""


class Namespaces:
    """Two network namespaces with a link; removed with everything in them."""

    def __init__(self) -> None:
        made = secrets.token_hex(3)
        self.platform, self.node = f"exq-{made}-p", f"exq-{made}-n"
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.fail(CANNOT, pytrace=False)
        for name in (self.platform, self.node):
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
        self._ip("-n", self.platform, "link", "add", "link0", "type", "veth", "peer", "name", "link1")
        self._ip("-n", self.platform, "link", "set", "link1", "netns", self.node)
        for name, link, address in ((self.platform, "link0", PLATFORM), (self.node, "link1", NODE)):
            self._ip("-n", name, "address", "add", f"{address}/30", "dev", link)
            self._ip("-n", name, "link", "set", link, "up")

    def _ip(self, *arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"ip {' '.join(arguments)}: {done.stderr.strip()}. {CANNOT}", pytrace=False)

    @staticmethod
    def inside(name: str) -> tuple[str, ...]:
        """Return the words before a command that runs in a namespace."""
        return ("ip", "netns", "exec", name)

    def remove(self) -> None:
        """Remove both."""
        for name in (self.platform, self.node):
            subprocess.run(["ip", "netns", "delete", name], check=False)


class NetworkCluster(Cluster):
    """A PostgreSQL server that listens on an address, as the container does."""

    port = 5432

    def command(self) -> list[str]:
        """Return the command with the address."""
        return [*super().command(), "-c", f"listen_addresses={PLATFORM}", "-c", f"port={self.port}"]

    def _hba(self) -> str:
        return f"{super()._hba()}host all all 0.0.0.0/0 scram-sha-256\n"
