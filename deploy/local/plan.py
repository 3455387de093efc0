"""Parts and settings of `make up`, decided and validated before anything runs."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from config import env, node_settings, variables
from config.databases import DATABASE_URLS, OPERATOR_SECRET_KEY, OPERATOR_SECRETS, DatabaseRole
from deploy.local.postgres import Cluster, StartError
from deploy.local.services import SEAWEED_PORTS, SeaweedFS, Valkey
from deploy.local.state_dir import AUDIT_KEY, MASTER_KEYS, Home

#: For the fetcher alone.
OUTBOUND = ("EXCHEQUER_OUTBOUND_ALLOW", "EXCHEQUER_OUTBOUND_CA")

#: Variables that only some parts may see; every part starts without them.
GUARDED = (
    *DATABASE_URLS.values(),
    "DATABASE_ADMIN_URL",
    "EXCHEQUER_INIT_TENANT",
    "EXCHEQUER_INIT_EMAIL",
    "EXCHEQUER_INIT_PASSWORD",
    "EXCHEQUER_INIT_API_KEY",
    "EXCHEQUER_INIT_OPERATOR_EMAIL",
    "EXCHEQUER_INIT_OPERATOR_PASSWORD",
    "EXCHEQUER_INIT_OPERATOR_API_KEY",
    *OPERATOR_SECRETS.values(),
    AUDIT_KEY,
    *OUTBOUND,
)


@dataclass
class Plan:
    """Parts to run here, given URLs, and the environments of the processes."""

    home: Home
    given: dict[str, str]
    settings: env.Environment
    cluster: Cluster | None
    valkey: Valkey | None
    seaweedfs: SeaweedFS | None
    shared: dict[str, str]
    databases: dict[DatabaseRole, str]
    operator_secret_key: str
    master: dict[str, str]
    audit: dict[str, str]
    master_made: Path | None = None
    #: The logins of this machine's node and serving node; the web's role in a database of one's own, which may not let them in.
    node_url: str = ""
    serving_login: str = ""
    #: By which this machine's node is handed what its live work needs; new at each start.
    node_secret: str = ""
    serving_secret: str = ""

    @property
    def url(self) -> str:
        """Return the public URL of the product."""
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def serving_url(self) -> str:
        """Return the public URL for predictions."""
        return f"http://127.0.0.1:{self.settings.serving_port}"

    @property
    def operator_url(self) -> str:
        """Return the URL of the operators' console."""
        return f"http://127.0.0.1:{self.settings.operator_port}"

    @property
    def usage_url(self) -> str:
        """Return the URL of the usage server."""
        return f"http://127.0.0.1:{self.settings.ingest_port}"

    @property
    def bucket(self) -> str:
        """Return the bucket for objects."""
        return self.shared["S3_BUCKET"]

    def environment(self, role: DatabaseRole, **more: str) -> dict[str, str]:
        """Return the environment of a process with one database role: with that role's URL and no other."""
        return self.shared | {DATABASE_URLS[role]: self.databases[role], "EXCHEQUER_DB_ROLE": role} | more

    def for_console(self, **more: str) -> dict[str, str]:
        """Return the environment of the operators' console: no key of the tenants' side, nor of a store."""
        given = {
            name: value
            for name, value in self.environment("operator").items()
            if name not in (*OPERATOR_SECRETS, "BROKER_URL", "CACHE_URL", *MASTER_KEYS)
            and not name.startswith(("AWS_", "S3_", "STRIPE_"))
        }
        own = {name: self.given[name] for name in OPERATOR_SECRETS.values() if self.given.get(name)}
        return given | own | {OPERATOR_SECRET_KEY: self.operator_secret_key} | more

    def for_usage(self, **more: str) -> dict[str, str]:
        """Return the environment of the usage server: the web process's, without broker, store and Stripe."""
        given = self.environment("app", **self.master)
        unused = ("BROKER_URL", "CACHE_URL", "EMAIL_URL")
        return {
            name: value
            for name, value in given.items()
            if name not in unused and not name.startswith(("AWS_", "S3_", "STRIPE_"))
        } | more

    def for_node(self) -> dict[str, str]:
        """Return the environment of this machine's node: its own login and secret, the broker, and nothing of the platform's."""
        given = self._on_a_node()
        given.pop("EXCHEQUER_METRICS_TOKEN", None)
        own = {
            node_settings.SECRET: self.node_secret,
            "BROKER_URL": self.valkey.node_url if self.valkey else self.shared["BROKER_URL"],
        }
        return given | own | ({"DATABASE_URL": self.node_url} if self.node_url else {})

    def _on_a_node(self) -> dict[str, str]:
        unused = (*node_settings.OF_THE_PLATFORM, node_settings.SERVING, "BROKER_URL", "CACHE_URL", "EMAIL_URL")
        given = {
            name: value
            for name, value in self.environment("app").items()
            if name not in unused and not name.startswith(("AWS_", "S3_", "STRIPE_"))
        }
        return given | {node_settings.PLATFORM: self.url}

    def for_serving(self) -> dict[str, str]:
        """Return the environment of the serving node: its own login and secret, and no key but the one it signs with."""
        own = {
            node_settings.SECRET: self.serving_secret,
            node_settings.SERVING: node_settings.serving_key(self.shared["SECRET_KEY"]),
            "OMP_NUM_THREADS": "1",
        }
        return self._on_a_node() | own | ({"DATABASE_URL": self.serving_login} if self.serving_login else {})

    def for_fetcher(self) -> dict[str, str]:
        """Return the environment of the fetcher: nothing but what it may reach, and whom it trusts."""
        return {name: self.given[name] for name in OUTBOUND if self.given.get(name)}

    def for_commands(self) -> dict[str, str]:
        """Return the environment for `manage.py` commands that a person runs beside the product."""
        settings = {name: value for name, value in self.shared.items() if name in env.NAMES or name.startswith("AWS_")}
        return settings | self.master | {DATABASE_URLS[role]: url for role, url in self.databases.items()}


def plan_for(home: Home, environ: Mapping[str, str]) -> Plan:
    """Plan the start from the caller's variables; raise `StartError` naming what is missing or wrong."""
    meant = variables.slips(environ, env.NAMES)
    if meant:
        lines = [f"  {name} is not a setting: did you mean {like}?" for name, like in sorted(meant.items())]
        raise StartError("correct or unset what looks mistyped:\n" + "\n".join(lines))
    given = with_secret_files(environ)
    kept = home.secrets()
    ports = kept["ports"]
    databases = {role: given.get(name, "") for role, name in DATABASE_URLS.items()}
    cluster = None
    if not any(databases.values()):
        cluster = Cluster(home.path / "postgres", kept["database"])
        databases = {role: cluster.url(f"exchequer_{role}") for role in DATABASE_URLS}
    elif not all(databases.values()):
        missing = [name for role, name in DATABASE_URLS.items() if not databases[role]]
        raise StartError(
            f"with a database of your own, all four URLs are needed; missing: {', '.join(missing)} (see deploy/roles.sql)"
        )

    valkey = (
        None
        if given.get("BROKER_URL")
        else Valkey(
            home.path / "valkey",
            ports["valkey"],
            kept["valkey"],
            given.get("EXCHEQUER_NODE_ID") or socket.gethostname(),
        )
    )
    seaweedfs = None
    if not given.get("S3_ENDPOINT_URL"):
        seaweed_ports = {name: ports[name] for name in SEAWEED_PORTS}
        seaweedfs = SeaweedFS(home.path / "seaweedfs", seaweed_ports, kept["s3_access_key"], kept["s3_secret_key"])
    elif not given.get("AWS_ACCESS_KEY_ID") or not given.get("AWS_SECRET_ACCESS_KEY"):
        raise StartError("with an object store of your own, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed")

    shared = {name: value for name, value in given.items() if name not in (*GUARDED, *MASTER_KEYS)}
    defaults = {
        "SECRET_KEY": kept["secret_key"],
        "BROKER_URL": valkey.url if valkey else "",
        "CACHE_URL": f"{valkey.url.removesuffix('/0')}/1" if valkey else "",
        "S3_ENDPOINT_URL": seaweedfs.url if seaweedfs else "",
        "S3_BUCKET": "exchequer",
        "AWS_ACCESS_KEY_ID": kept["s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": kept["s3_secret_key"],
        "EXCHEQUER_SANDBOX": "best_effort",
        "EXCHEQUER_DEMO": "1",
        "EXCHEQUER_NODE_ID": socket.gethostname(),
        "PYTHONUNBUFFERED": "1",
    }
    shared = defaults | {name: value for name, value in shared.items() if value} | {"EXCHEQUER_HOME": str(home.path)}
    all_of_them = {**given, **shared, **{name: databases[role] for role, name in DATABASE_URLS.items()}}
    settings = _checked(all_of_them)
    master, made = home.master_key(given)  # created last: the start that creates it reports it
    if not made:
        _checked(all_of_them | master)
    audit = home.audit_key(given)
    operator_secret_key = given.get(OPERATOR_SECRET_KEY) or kept["operator_secret_key"]
    return Plan(
        home, given, settings, cluster, valkey, seaweedfs, shared, databases, operator_secret_key, master, audit, made
    )


def with_secret_files(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with `NAME_FILE` replaced by the content of that file; raise `StartError` naming bad files.

    The master key's file stays named instead: a rotation changes it, and every process reads it again.
    """
    try:
        found = variables.from_files(given, env.NAMES)
    except variables.Unreadable as error:
        raise StartError(str(error)) from error
    found.pop("EXCHEQUER_MASTER_KEY", None)
    files = {f"{name}_FILE" for name in env.NAMES} - {"EXCHEQUER_MASTER_KEY_FILE"}
    return {name: value for name, value in given.items() if name not in files} | found


def _checked(given: Mapping[str, str]) -> env.Environment:
    """Return the settings for the parts; raise `StartError` naming each wrong one."""
    try:
        settings = env.read({**given, **env.with_secret_files(given)})
    except (env.SettingsInvalid, variables.Unreadable) as error:
        raise StartError(str(error)) from error
    ports = {
        "EXCHEQUER_HTTP_PORT": settings.http_port,
        "EXCHEQUER_SERVING_PORT": settings.serving_port,
        "EXCHEQUER_OPERATOR_PORT": settings.operator_port,
        "EXCHEQUER_INGEST_PORT": settings.ingest_port,
    }
    for first, second in combinations(ports, 2):
        if ports[first] == ports[second]:
            raise StartError(f"{first} and {second} are both {ports[first]}: choose different ports")
    return settings
