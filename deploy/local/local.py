"""`make up`: the whole product on one machine, supervised in the foreground.

PostgreSQL, Valkey, the object store, web, workers and controller are started in order, each when its dependencies are
ready, and restarted when they die. Ctrl-C or SIGTERM stops all of them within 20 seconds; data stays. A part whose URL
is given by the environment is not started.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

from config import variables
from deploy import nodes, procfs
from deploy.local import processes
from deploy.local.accounts import AccountError
from deploy.local.plan import GUARDED, Plan, plan_for
from deploy.local.postgres import StartError
from deploy.local.processes import MANAGE, ROOT
from deploy.local.state_dir import Home
from deploy.local.supervisor import Part, Supervisor
from deploy.server.web import listen

#: Stop producers first, then stores; the database last.
STOP_ORDER = (
    ("web", "operator", "usage", "serving", "controller", "ops", "node", "fetcher"),
    ("valkey", "seaweedfs"),
    ("postgres",),
)
LONGEST_SILENCE_S = 8
REMEDIES = {
    errno.ENOSPC: "free some space, or set EXCHEQUER_HOME to a folder on another disk",
    errno.EROFS: "set EXCHEQUER_HOME to a folder that can be written",
    errno.EACCES: "start as the user who owns it, or set EXCHEQUER_HOME to a folder that can be written",
}
DEMO_NOTE, DEMO_UNFINISHED = "demo.txt", "demo-unfinished.json"


class Local:
    """One run of `make up`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.began = self.said_at = time.monotonic()
        self.supervisor = Supervisor(home, self.say, self.still)
        self.plan: Plan | None = None

    def say(self, text: str) -> None:
        """Print one line of progress with the seconds since the start."""
        self.said_at = time.monotonic()
        print(f"[{self.said_at - self.began:5.1f} s] {text}", flush=True)

    def still(self, what: str) -> None:
        """Print what is awaited after a silence, which would look like a hang."""
        if time.monotonic() - self.said_at > LONGEST_SILENCE_S:
            self.say(f"still busy with {what}")

    def up(self) -> None:
        """Start everything, then watch until a stop is requested."""
        plan = self.plan = plan_for(self.home, os.environ)
        listener = _listener(plan.settings.http_port, "EXCHEQUER_HTTP_PORT")
        serving = _listener(plan.settings.serving_port, "EXCHEQUER_SERVING_PORT")
        operator = _listener(plan.settings.operator_port, "EXCHEQUER_OPERATOR_PORT")
        usage = _listener(plan.settings.ingest_port, "EXCHEQUER_INGEST_PORT")
        self.say(f"starting in {self.home.path}; logs are in {self.home.logs}")
        if plan.master_made:
            self.say(
                f"made the master key {plan.master_made}: stored files are encrypted under it. Keep a copy on another"
            )
            self.say("machine and confirm it (manage.py confirm_key_backup): without it the files are lost")
        self.home.write_private("environment.json", json.dumps(plan.for_commands(), indent=2))
        waiting = self._services(plan)
        logins = self._demo(plan, waiting)
        servers = [
            processes.web(plan, listener),
            processes.serving(plan, serving),
            processes.operator(plan, operator),
            processes.usage(plan, usage),
        ]
        self._product(plan, servers, waiting)
        self._init_tenant(plan)
        self._sandbox(plan)
        print(
            f"\nExchequer is up: {plan.url}\nPredictions are answered at {plan.serving_url}\n"
            f"Usage is taken at {plan.usage_url}/api/v1/events/\nOperators' console: {plan.operator_url}\n{logins}",
            flush=True,
        )
        self.supervisor.watch()

    def down(self) -> None:
        """Stop everything, the database last."""
        self.say("stopping (a second Ctrl-C hurries)")
        self.supervisor.stop(*STOP_ORDER)
        if self.plan is not None and self.plan.seaweedfs is not None:
            self.plan.seaweedfs.clear_sockets()
        self.home.remove_pid("up")
        self.say("stopped; the data is kept")

    def _services(self, plan: Plan) -> list[Part]:
        """Start the services in parallel and migrate as soon as the database is ready; return those to wait for."""
        supervisor = self.supervisor
        own = [processes.postgres(plan.cluster)] if plan.cluster else []
        own += [processes.valkey(plan.valkey)] if plan.valkey else []
        own += [processes.seaweedfs(plan.seaweedfs, plan.bucket)] if plan.seaweedfs else []
        for part in own:
            self.say(f"starting {part.name}")
            supervisor.start(part)
        if plan.cluster is not None:
            for folder in plan.cluster.opened:
                self.say(
                    f"opened {folder} to others for passing through (o+x): {plan.cluster.account.name} runs the database"
                )
            self._note(plan.cluster.opened)
            supervisor.wait_ready(own[0])
            plan.cluster.provision()
        self.say("migrating the database")
        supervisor.run("migrate", [*MANAGE, "migrate", "--no-input"], plan.environment("owner"), str(ROOT))
        owner, name = plan.databases["owner"], plan.shared["EXCHEQUER_NODE_ID"]
        if plan.cluster is not None:
            plan.node_url = nodes.admit(owner, name)
            plan.serving_login = nodes.admit(owner, f"serving.{name}", serving=True)
        plan.node_secret = nodes.enrol(owner, name)
        plan.serving_secret = nodes.enrol(owner, f"serving.{name}")
        return own[1 if plan.cluster else 0 :]

    def _product(self, plan: Plan, servers: list[Part], waiting: list[Part]) -> None:
        started = [processes.fetcher(plan), *servers]
        started += [processes.ops(plan), processes.node(plan), processes.controller(plan)]
        for part in started:
            self.say(f"starting {part.name}")
            self.supervisor.start(part)
        self.supervisor.wait_ready(*started, *waiting)

    def _demo(self, plan: Plan, waiting: list[Part]) -> str:
        """Load the demo, once, before anything runs that reads the clock, which it moves; return the logins to show."""
        note = self.home.path / DEMO_NOTE
        if plan.settings.demo and not note.exists():
            self.supervisor.wait_ready(*waiting)
            waiting.clear()
            self.say("loading the demo: two months of three organisations; EXCHEQUER_DEMO=0 starts empty")
            # Beside a real organisation the installation gets no operator with a public password.
            alone = [] if not plan.given.get("EXCHEQUER_INIT_TENANT") else ["--no-operator"]
            command = [*MANAGE, "seed_demo", "--unless-used", *alone]
            environment = plan.environment("control", DATABASE_OWNER_URL=plan.databases["owner"], **plan.master)
            try:
                logins = self.supervisor.run("seed_demo", command, environment, str(ROOT), self._on_line)
            except StartError as error:
                self.say(f"the demo could not be loaded, the next start tries again; {error}")
            else:
                self._issue(plan)
                self.home.write_private(DEMO_NOTE, logins)
        if (self.home.path / DEMO_UNFINISHED).exists():
            processes.stop_demo_clock(plan)
        return note.read_text() if note.exists() else ""

    def _issue(self, plan: Plan) -> None:
        """Issue the demo's invoices, as the console does; if that fails they stay drafts."""
        command = [*MANAGE, "issue_demo_invoices"]
        try:
            self.supervisor.run("issue_demo_invoices", command, plan.for_console(), str(ROOT), self._on_line)
        except StartError as error:
            self.say(f"the demo's invoices stay drafts; {error}")

    def _on_line(self, line: str) -> bool:
        """Print a line of progress; return whether it was one."""
        word, _, text = line.partition("demo: ")
        if not word and text:
            self.say(text)
        return not word and bool(text)

    def _init_tenant(self, plan: Plan) -> None:
        """Create the tenant and the operator that the environment names, unless they exist."""
        init = {
            name: plan.given[name] for name in GUARDED if name.startswith("EXCHEQUER_INIT_") and plan.given.get(name)
        }
        if init:
            self.say("creating what EXCHEQUER_INIT_* names, unless it exists")
            made = self.supervisor.run(
                "bootstrap", [*MANAGE, "bootstrap"], plan.environment("control", **init), str(ROOT)
            )
            for line in made.splitlines():
                self.say(line)

    def _sandbox(self, plan: Plan) -> None:
        missing = self.supervisor.run(
            "sandbox", [*MANAGE, "doctor", "--sandbox"], plan.environment("control"), str(ROOT)
        )
        for layer in missing.splitlines():
            self.say(f"sandbox layer missing on this machine: {layer}")

    def _note(self, opened: list[Path]) -> None:
        """Store the list of the opened folders, for the doctor."""
        file = self.home.run / "opened-folders"
        known = file.read_text().splitlines() if file.exists() else []
        new = [str(folder) for folder in opened if str(folder) not in known]
        file.write_text("".join(f"{folder}\n" for folder in known + new))


def _listener(port: int, variable: str) -> socket.socket:
    """Bind a port before anything is started, so that a port in use is found at once."""
    try:
        return listen("127.0.0.1", port)
    except OSError as error:
        other = port + 80 if port < 65_000 else port - 80
        free = "stop what uses it" if error.errno == errno.EADDRINUSE else "ports below 1024 are for root"
        raise StartError(
            f"port {port} cannot be used ({error.strerror}): {free}, or choose another: {variable}={max(other, 8080)} make up"
        ) from None


def _refused(error: Exception) -> int:
    """Print why nothing starts, and what to do; return the exit code."""
    if isinstance(error, OSError) and error.filename:
        remedy = REMEDIES.get(error.errno or 0, "fix that, or set EXCHEQUER_HOME to another folder")
        error = StartError(f"{error.filename}: {error.strerror}: {remedy}")
    print(f"make up: {error}", file=sys.stderr, flush=True)
    return 1


def main() -> int:
    """Run `make up`; return its exit code."""
    if os.environ.get("MAKELEVEL"):
        procfs.die_with_parent(signal.SIGTERM)
    try:
        home = Home(variables.home(os.environ))
        home.take()
        local = Local(home)
    except (StartError, AccountError, OSError) as error:
        return _refused(error)

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        local.supervisor.stop_asked += 1

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_stop)
    code = 0
    try:
        local.up()
    except KeyboardInterrupt:
        pass
    except (StartError, AccountError, OSError) as error:
        code = _refused(error)
    finally:
        if local.supervisor.parts:
            local.down()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
