"""The product as deploy/compose.yaml starts it, without Docker.

One namespace holds the platform, the other a node. Each process runs the file's own command with its own variables, from a
copy of what the Dockerfile copies, and those of the image `web` with no package that this image lacks.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from compute.sandbox import sandbox
from deploy.local.postgres import random_passwords
from deploy.local.services import SEAWEED_PORTS, SeaweedFS
from tests.scenarios.deployed.host_secrets import write_secrets
from tests.scenarios.deployed.images import Images
from tests.scenarios.deployed.networks import NODE, PLATFORM, RELAY, Namespaces, NetworkCluster
from tests.scenarios.stack import Stack
from tests.support.servers.ports import free_port, free_ports
from tests.support.servers.rabbitmq import RabbitMQ
from tests.support.waiting import wait_until
from tests.unit.deploy.manifests import ROOT, Process, compose_processes

USER = 10001
#: The name of the second node, which runs beside the platform.
SECOND = "second"
#: Where the Compose file mounts secrets, and below it the volumes that processes share.
SECRETS, SHARED = "/run/secrets", "/run/"
OF_THE_IMAGE = ["CMD", "python", "-m", "deploy.server.health", "--url", "http://127.0.0.1:8000/readyz"]


class Deployment(Stack):
    """The product in two namespaces, with the organisation `lab`. A part that was killed is started again on request."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home", EXCHEQUER_LEASE_S="10")
        self.folder = folder
        for name in ("secrets", "volumes", "homes", "logs", "tmp"):
            (folder / name).mkdir(parents=True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts: list[str] = []
        self._stopping = threading.Event()
        self.images = Images(folder / "images")
        self.cluster = NetworkCluster(folder / "pg", random_passwords(), durable=True)
        self.broker = RabbitMQ(folder / "rabbitmq", PLATFORM)  # fails where it is not installed
        ports = dict(zip(SEAWEED_PORTS, free_ports(len(SEAWEED_PORTS)), strict=True))
        self.store = SeaweedFS(folder / "objects", ports, "access", secrets.token_hex(16))
        self.store_port = free_port()
        #: A user of the containers, if one can read this Python; in root's closed home only root can.
        self.user = not sandbox.closed_to_others(sandbox.interpreter_paths())
        self.processes_of = {one.name: one for one in compose_processes()}
        self.net = Namespaces()
        self.broker.prefix = self.net.inside(self.net.platform)

    def up(self) -> None:
        """Start everything as `docker compose up` does: stores, preparation, then all others."""
        for part in ("database", "store", "broker"):
            self.launch_part(part)
        with self.cluster.superuser("postgres") as admin:
            admin.execute("CREATE DATABASE exchequer")
            admin.execute("ALTER ROLE postgres PASSWORD 'of-the-container'")
        folder = self.folder / "secrets"
        write_secrets(folder, self.broker.url, self.store)
        if self.user:
            os.chown(folder, USER, USER)
        for once in ("prepare", "node-login", "serving-login"):
            assert self._popen(once, self.processes_of[once]).wait(180) == 0, self.log(once)
        for part in ("fetcher", "web", "operator", "usage", "controller", "controller-2", "ops", "serving", "node"):
            self.launch_part(part)
        self._publish()
        threading.Thread(target=self._restart_what_ends, daemon=True, name="restarts").start()
        wait_until(
            lambda: all(self.healthy(part) for part in self.running if self._process_of(part)), self._unhealthy, 180
        )

    def _unhealthy(self) -> str:
        sick = [part for part in self.running if self._process_of(part) and not self.healthy(part)]
        return "; ".join(f"{part}: {self.log(part)[-800:]}" for part in sick)

    def launch_part(self, part: str) -> None:
        """Start a part, and wait for a store."""
        inside = self.net.inside(self.net.platform)
        if part == "database":
            self.cluster.prepare()
            account = self.cluster.account
            command = [*inside, "setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
            words, values = [*command, *self.cluster.command()], {"PATH": os.defpath, "TZ": "UTC"}

            def up() -> bool:
                # Processes of a killed server go on for a moment, and keep the next from starting: Compose tries again.
                if part not in self.running or self.running[part].poll() is not None:
                    self.running[part] = self._spawn(part, words, values)
                return self.cluster.ready()

            wait_until(up, "the database")
        elif part == "broker":
            self.broker.start()
        elif part == "store":
            self.store.prepare()
            values = {"PATH": os.defpath, "HOME": str(self.folder / "objects")}
            self.running[part] = self._spawn(part, [*inside, *self.store.command()], values)
            if "store-relay" not in self.running:
                relay = [
                    *inside,
                    sys.executable,
                    "-c",
                    RELAY,
                    f"{PLATFORM}:{self.store_port}",
                    "127.0.0.1",
                    str(self.store.ports["s3"]),
                ]
                self.running["store-relay"] = self._spawn("store-relay", relay, {"PATH": os.defpath})
            wait_until(self._bucket, "the store", 60)
        elif part not in self.running:
            process = self._process_of(part)
            assert process is not None
            self.running[part] = self._popen(part, process)
        else:
            wait_until(lambda: self.running[part].poll() is None, f"{part} starts again")

    def add_node(self) -> None:
        """Start a second node, beside the platform: the network of the first is another."""
        assert self._popen("node-login-2", self.processes_of["node-login"]).wait(180) == 0, self.log("node-login-2")
        self.launch_part("node-2")
        wait_until(lambda: self.healthy("node-2"), lambda: self.log("node-2")[-800:], 60)

    def remove_node(self) -> None:
        """Stop the second node; it takes its leave."""
        process = self.running.pop("node-2")
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)

    def _restart_what_ends(self) -> None:
        """Start our own processes again when they end, as `restart: unless-stopped` does."""
        while not self._stopping.wait(0.5):
            for part, process in list(self.running.items()):
                described = self._process_of(part)
                if described is not None and process.poll() is not None:
                    self.restarts.append(part)
                    self.running[part] = self._popen(part, described)

    def kill_part(self, part: str) -> None:
        """Kill a part and all that it started, as a host that loses power does."""
        if part == "broker":
            self.broker.kill()
            return
        process = self.running[part]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def healthy(self, part: str) -> bool:
        """Return whether the part's own check of the Compose file, or of its image, holds."""
        process = self._process_of(part)
        assert process is not None
        check = process.spec.get("healthcheck", {}).get("test", OF_THE_IMAGE)[1:]
        command = [self._here(word, process, part) for word in check[1:]]
        done = subprocess.run(
            [*self._prefix(part), self.images.python(process.image), *command],
            cwd=self.images.code, env=self._variables(part, process), capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode == 0 and self.running[part].poll() is None

    def manage(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a management command in a container of the ops worker."""
        process = self.processes_of["ops"]
        return subprocess.run(
            [*self._prefix("ops"), self.images.python(process.image), "manage.py", *command],
            cwd=self.images.code, env=self._variables("ops", process), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def log(self, part: str) -> str:
        """Return what a part printed."""
        return (self.folder / "logs" / part).read_text()

    def down(self) -> None:
        """Stop everything, the stores last."""
        self._stopping.set()
        time.sleep(1)  # the thread that starts parts again has seen it
        order = [part for part in self.running if self._process_of(part)] + [
            "published",
            "store-relay",
            "store",
            "database",
        ]
        for part in order:
            process = self.running.get(part)
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGINT if part == "database" else signal.SIGTERM)
        for part in order:
            process = self.running.get(part)
            if process is not None:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(20)
        self.broker.stop()
        self.net.remove()

    def _process_of(self, part: str) -> Process | None:
        return self.processes_of.get(part.removesuffix("-2"))

    def _popen(self, part: str, process: Process) -> subprocess.Popen[bytes]:
        command = [self._here(word, process, part) for word in process.command[1:]]
        words = [*self._prefix(part), self.images.python(process.image), *command]
        return self._spawn(part, words, self._variables(part, process), self.images.code)

    def _spawn(
        self, part: str, command: list[str], values: dict[str, str], folder: Path | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / "logs" / part).open("ab") as log:
            return subprocess.Popen(
                command, env=values, cwd=folder or self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )  # fmt: skip

    def _prefix(self, part: str) -> list[str]:
        inside = self.net.inside(self.net.node if part == "node" else self.net.platform)
        drop = [
            "setpriv",
            f"--reuid={USER}",
            f"--regid={USER}",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]
        return [*inside, *(drop if self.user else ())]

    def _variables(self, part: str, process: Process) -> dict[str, str]:
        home = self.folder / "homes" / part
        home.mkdir(exist_ok=True)
        if self.user:
            os.chown(home, USER, USER)
        given = {name: self._here(value, process, part) for name, value in process.variables.items()}
        more = {} if self.user else {"EXCHEQUER_SANDBOX": "best_effort"}
        more |= {"S3_ENDPOINT_URL": f"http://{PLATFORM}:{self.store_port}"} if "S3_ENDPOINT_URL" in given else {}
        if process.name == "node":
            more |= {"EXCHEQUER_CPU_DEVICES": "2", "EXCHEQUER_NODE_ADDRESS": NODE if part == "node" else PLATFORM}
        names = ("EXCHEQUER_INIT_TENANT", "EXCHEQUER_INIT_EMAIL", "EXCHEQUER_INIT_PASSWORD", "EXCHEQUER_INIT_API_KEY")
        more |= {name: self.variables[name] for name in names} if part == "prepare" else {}
        times = {
            name: self.variables[name] for name in ("EXCHEQUER_HEARTBEAT_S", "EXCHEQUER_LEASE_S", "EXCHEQUER_SWEEP_S")
        }
        image = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "EXCHEQUER_HOME": str(home),
        }
        return image | times | given | more

    def _here(self, text: str, process: Process, part: str) -> str:
        """Return a text of the Compose file with the folders of this deployment, each volume in one of its own.

        A second node is that of a host with another EXCHEQUER_NODE_ID, and has its volumes.
        """
        second = part.endswith("-2")
        if second and text == "compose":
            return SECOND
        for volume in process.spec.get("volumes", ()):
            name, place = volume.split(":")[:2]
            if place.startswith(SHARED):
                folder = self.folder / "volumes" / (f"{name}-2" if second and name.startswith(process.name) else name)
                folder.mkdir(exist_ok=True)
                if self.user:
                    os.chown(folder, USER, USER)
                text = text.replace(place, str(folder))
        return text.replace(SECRETS, str(self.folder / "secrets"))

    def _bucket(self) -> bool:
        made = f"from deploy.local.services import SeaweedFS as S; import sys; sys.exit(not S(None, {{'s3': {self.store.ports['s3']}}}, {self.store.access_key!r}, {self.store.secret_key!r}).make_bucket('exchequer'))"
        command = [*self.net.inside(self.net.platform), sys.executable, "-c", made]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0

    def _publish(self) -> None:
        """Make the web server reachable on the loopback address of the host, as Compose publishes a port."""
        with socket.create_server(("127.0.0.1", self.port)) as listener:
            command = [
                *self.net.inside(self.net.platform),
                sys.executable,
                "-c",
                RELAY,
                f"fd={listener.fileno()}",
                "127.0.0.1",
                "8000",
            ]
            with (self.folder / "logs/published").open("ab") as log:
                self.running["published"] = subprocess.Popen(
                    command, env={"PATH": os.defpath}, stdout=log, stderr=log, pass_fds=(listener.fileno(),), start_new_session=True
                )  # fmt: skip
