"""G-g1: the web server as shipped, while slow clients hold sockets, against gunicorn without slow clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from bench.contracts import make_tenant
from bench.rows import Options, Row, figure
from bench.servers import PEERS_VARIABLE, Load, NotStarted, Server, ask, in_turn, peers
from deploy.local.services import free_ports

CALLERS, SLOW = 32, 200
OURS, THEIRS = "shipped", "gunicorn sync -w2"
PATH = "/api/v1/me/"
#: gunicorn from the peers' environment, the application and its dependencies from ours.
GUNICORN = "import sys; sys.path.append(sys.argv.pop(1)); from gunicorn.app.wsgiapp import run; run()"


@figure("G-g1")
def web(options: Options) -> Iterator[Row]:
    """Measure GET /api/v1/me/ with an API key at 32 callers: the smallest request that passes every check."""
    request = ask("GET", PATH, key=_key())
    environment = options.environment("app")
    with ExitStack() as stack:

        def start(name: str, command: list[str]) -> Server:
            port = free_ports(1)[0]
            words = [word.replace("PORT", str(port)) for word in command]
            server = Server(name, words, port, request, options.home / f"{name.split()[0]}.log", environment)
            stack.callback(server.close)
            server.wait()
            server.freeze()
            return server

        ours = start(OURS, [sys.executable, "-m", "deploy.server.web", "--port", "PORT", "--processes", "2"])
        sides = {OURS: (ours, (Load(CALLERS, SLOW), Load(CALLERS)))}
        missing = ""
        try:
            command = [sys.executable, "-c", GUNICORN, _packages(), "-b", "127.0.0.1:PORT", "-w", "2", "config.wsgi"]
            sides[THEIRS] = (start(THEIRS, command), (Load(CALLERS),))
        except NotStarted as error:
            missing = f" ({error})"
        found = in_turn(options, sides)
    held, free, theirs = found[OURS, 0], found[OURS, 1], found.get((THEIRS, 0))
    rates = {"held req/s": held.rate, "not held": free.rate, "sockets still held": held.held, "failed": held.failed}
    waits = {"held p99 ms": 1000 * held.p99, "not held": 1000 * free.p99}
    if theirs is not None:
        rates |= {"gunicorn": theirs.rate, "gunicorn failed": theirs.failed}
        waits["gunicorn"] = 1000 * theirs.p99
    against = f"{THEIRS}, none held{missing}"
    yield Row("G-g1", f"{CALLERS} callers beside {SLOW} slow sockets, requests/s", theirs and held.rate / theirs.rate, 1.0, against, rates)  # fmt: skip
    yield Row("G-g1", f"{CALLERS} callers beside {SLOW} slow sockets, p99", theirs and theirs.p99 / held.p99, 1.0, against, waits)  # fmt: skip


def _key() -> str:
    from tenants.access.actor import Actor
    from tenants.identity import api_keys
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Membership

    tenant = make_tenant("Web", "web@example.org")
    with tenant_scope(tenant.id):
        owner = Membership.objects.select_related("user").get()
    actor = Actor.member(tenant_id=tenant.id, user_id=owner.user_id, email=owner.user.email, role="owner")
    return api_keys.create_api_key(actor=actor, name="bench", scopes=sorted(actor.permissions)).secret


def _packages() -> str:
    """Return the path of the peers' packages. Raises NotStarted."""
    if not peers():
        raise NotStarted(f"no peers: {PEERS_VARIABLE} names no interpreter")
    command = [peers(), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotStarted(f"the peers' interpreter did not start: {error}") from error
