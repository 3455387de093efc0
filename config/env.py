"""Typed settings from the environment: the only module that reads it.

Every value has a default for one machine or is reported missing together with all the others; an empty one counts as
missing. A secret may be given as `NAME_FILE`, the path of a file that holds it.
"""

import base64
import ipaddress
import json
import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from config import node_settings, variables
from config.databases import DATABASE_URLS, OPERATOR_SECRETS, DatabaseRole
from config.mail import mail_settings
from config.web import proxies
from tenants.outbound import allowed

OWNER_COMMANDS = frozenset({"migrate", "makemigrations", "sqlmigrate", "showmigrations", "optimizemigration"})


class SettingsInvalid(SystemExit):
    """The environment does not hold what Exchequer needs to start."""


class Environment(BaseModel):
    """Effective settings of one process. Times are seconds unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(Path(".exchequer"), validation_alias="EXCHEQUER_HOME")
    http_port: int = Field(8000, validation_alias="EXCHEQUER_HTTP_PORT", ge=1, le=65535)
    serving_port: int = Field(8001, validation_alias="EXCHEQUER_SERVING_PORT", ge=1, le=65535)
    operator_port: int = Field(8002, validation_alias="EXCHEQUER_OPERATOR_PORT", ge=1, le=65535)
    ingest_port: int = Field(8003, validation_alias="EXCHEQUER_INGEST_PORT", ge=1, le=65535)
    serving_slots: int = Field(8, validation_alias="EXCHEQUER_SERVING_SLOTS", ge=1, le=256)
    demo: bool = Field(False, validation_alias="EXCHEQUER_DEMO")
    debug: bool = Field(False, validation_alias="EXCHEQUER_DEBUG")

    init_tenant: str = Field("", validation_alias="EXCHEQUER_INIT_TENANT")
    init_email: str = Field("", validation_alias="EXCHEQUER_INIT_EMAIL")
    init_password: str = Field("", validation_alias="EXCHEQUER_INIT_PASSWORD")
    init_api_key: str = Field("", validation_alias="EXCHEQUER_INIT_API_KEY")
    init_operator_email: str = Field("", validation_alias="EXCHEQUER_INIT_OPERATOR_EMAIL")
    init_operator_password: str = Field("", validation_alias="EXCHEQUER_INIT_OPERATOR_PASSWORD")
    init_operator_api_key: str = Field("", validation_alias="EXCHEQUER_INIT_OPERATOR_API_KEY")

    #: In the console's process EXCHEQUER_OPERATOR_SECRET_KEY: cookies ignore ports. On a node, one of this process alone.
    secret_key: str = Field(min_length=32, validation_alias="SECRET_KEY")
    #: Opens second factors, and nothing else, until they are encrypted under the present one.
    secret_key_previous: str = Field("", validation_alias="SECRET_KEY_PREVIOUS")
    serving_key: str = Field("", validation_alias=node_settings.SERVING)
    master_key: str = Field("", validation_alias="EXCHEQUER_MASTER_KEY")
    master_key_file: str = Field("", validation_alias="EXCHEQUER_MASTER_KEY_FILE")
    #: Signs checkpoints of the audit chains; the ops process alone has it.
    audit_key: str = Field("", validation_alias="EXCHEQUER_AUDIT_KEY")
    master_key_previous: str = Field("", validation_alias="EXCHEQUER_MASTER_KEY_PREVIOUS")
    allowed_hosts: str = Field("127.0.0.1,localhost,[::1]", validation_alias="ALLOWED_HOSTS")
    csrf_trusted_origins: str = Field("", validation_alias="CSRF_TRUSTED_ORIGINS")
    tls: bool | None = Field(None, validation_alias="EXCHEQUER_TLS")
    public_url: str = Field("", validation_alias="EXCHEQUER_PUBLIC_URL")
    operator_public_url: str = Field("", validation_alias="EXCHEQUER_OPERATOR_PUBLIC_URL")
    #: Where the web process reaches serving, and where clients do; on this machine unless set.
    serving_url: str = Field("", validation_alias="EXCHEQUER_SERVING_URL")
    serving_public_url: str = Field("", validation_alias="EXCHEQUER_SERVING_PUBLIC_URL")
    #: Set by deploy.server.web for the processes that it forks: the address that it listens on.
    bound_to: str = Field("", validation_alias="EXCHEQUER_BOUND_TO")
    trusted_proxies: str = Field("", validation_alias="EXCHEQUER_TRUSTED_PROXIES")

    db_role: DatabaseRole = Field("app", validation_alias="EXCHEQUER_DB_ROLE")
    database_app_url: str = Field("", validation_alias="DATABASE_URL")
    database_control_url: str = Field("", validation_alias="DATABASE_CONTROL_URL")
    database_owner_url: str = Field("", validation_alias="DATABASE_OWNER_URL")
    database_operator_url: str = Field("", validation_alias="DATABASE_OPERATOR_URL")
    database_admin_url: str = Field("", validation_alias="DATABASE_ADMIN_URL")

    broker_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="BROKER_URL")
    cache_url: str = Field("", validation_alias="CACHE_URL")
    s3_endpoint_url: str = Field("", validation_alias="S3_ENDPOINT_URL")
    s3_bucket: str = Field("exchequer", validation_alias="S3_BUCKET")
    audit_bucket: str = Field("", validation_alias="EXCHEQUER_AUDIT_BUCKET")  # with Object Lock, for checkpoints
    aws_access_key_id: str = Field("", validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: str = Field("", validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_region: str = Field("us-east-1", validation_alias="AWS_DEFAULT_REGION")
    email_url: str = Field("", validation_alias="EMAIL_URL")

    #: The largest file that may be uploaded, in MiB; the most that the stored files of one export of everything hold, in GiB.
    max_upload_mb: int = Field(500, validation_alias="EXCHEQUER_MAX_UPLOAD_MB", ge=1, le=4096)
    max_export_gb: int = Field(50, validation_alias="EXCHEQUER_MAX_EXPORT_GB", ge=1, le=4096)

    #: For the fetcher's process alone: what tenants' addresses may lead to beyond public ones, and further authorities.
    outbound_allow: str = Field("", validation_alias="EXCHEQUER_OUTBOUND_ALLOW")
    outbound_ca: str = Field("", validation_alias="EXCHEQUER_OUTBOUND_CA")
    #: Where the fetcher answers; `run/fetcher.sock` in the home unless set.
    fetcher_socket: str = Field("", validation_alias="EXCHEQUER_FETCHER_SOCKET")
    node_id: str = Field("", validation_alias="EXCHEQUER_NODE_ID")
    #: Where other nodes reach this one when they run a job together, and the ports for it, `FIRST-LAST`; any unless set.
    node_address: str = Field("", validation_alias="EXCHEQUER_NODE_ADDRESS")
    gang_ports: str = Field("", validation_alias="EXCHEQUER_GANG_PORTS", pattern=r"^(\d{1,5}-\d{1,5})?$")
    node_secret: str = Field("", validation_alias=node_settings.SECRET)
    platform_url: str = Field("", validation_alias=node_settings.PLATFORM)  # checked by node_settings
    sandbox: Literal["required", "best_effort"] = Field("required", validation_alias="EXCHEQUER_SANDBOX")
    cpu_devices: int = Field(0, validation_alias="EXCHEQUER_CPU_DEVICES", ge=0, le=1024)
    heartbeat_s: float = Field(5.0, validation_alias="EXCHEQUER_HEARTBEAT_S", gt=0, le=60)
    lease_s: float = Field(30.0, validation_alias="EXCHEQUER_LEASE_S", gt=0, le=600)
    sweep_s: float = Field(10.0, validation_alias="EXCHEQUER_SWEEP_S", gt=0, le=600)

    #: HOST:PORT of the name server that proves domains of identity providers; empty: those of this machine.
    dns_server: str = Field("", validation_alias="EXCHEQUER_DNS_SERVER", pattern=r"^([^:]+:\d{1,5})?$")
    #: Requests per second of one API key, after a burst; 0 sets no limit.
    api_rate: float = Field(50.0, validation_alias="EXCHEQUER_API_RATE", ge=0)
    #: Waiting jobs of one organisation; 0 sets no limit.
    queued_jobs: int = Field(10_000, validation_alias="EXCHEQUER_QUEUED_JOBS", ge=0)
    metrics_token: str = Field("", validation_alias="EXCHEQUER_METRICS_TOKEN")

    stripe_api_key: str = Field("", validation_alias="STRIPE_API_KEY")
    stripe_api_base: str = Field("", validation_alias="STRIPE_API_BASE")
    stripe_webhook_secret: str = Field("", validation_alias="STRIPE_WEBHOOK_SECRET")

    def database_url(self, role: DatabaseRole) -> str:
        """Return the connection URL of a role; raise `SettingsInvalid` if this process does not hold it."""
        url: str = getattr(self, f"database_{role}_url")
        if not url:
            raise SettingsInvalid(
                f"{DATABASE_URLS[role]} is not set: this process works as the database role {role!r}."
            )
        return url

    @field_validator("master_key", "master_key_previous", "audit_key")
    @classmethod
    def _master_key(cls, value: str) -> str:
        try:
            length = len(base64.b64decode(value, validate=True))
        except ValueError:
            length = 0
        if value and length != 32:
            raise ValueError("use 32 random bytes as base64, such as `openssl rand -base64 32` prints")
        return value

    @field_validator("email_url")
    @classmethod
    def _mail_url(cls, value: str) -> str:
        mail_settings(value, Path())
        return value

    @field_validator("public_url", "operator_public_url", "serving_url", "serving_public_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
        if value and not plain:
            raise ValueError("use an address with http:// or https://, such as https://exchequer.example.org")
        return value.rstrip("/")

    @field_validator("trusted_proxies", "outbound_allow")
    @classmethod
    def _addresses(cls, value: str, field: ValidationInfo) -> str:
        (proxies.trusted if field.field_name == "trusted_proxies" else allowed.parse)(value)
        return value

    @property
    def demo_logins(self) -> bool:
        """Return whether the demo's published passwords work: only if no other machine can reach the web server."""
        try:
            local = ipaddress.ip_address(self.bound_to).is_loopback
        except ValueError:
            return False
        return local and not (self.public_url or self.operator_public_url or self.trusted_proxies)

    @property
    def effective_tls(self) -> bool:
        """Return whether clients use TLS: as EXCHEQUER_TLS says, else as the public URL does."""
        return self.public_url.startswith("https://") if self.tls is None else self.tls

    @property
    def effective_public_url(self) -> str:
        """Return the public URL: the start of every link in an email, never taken from a request."""
        return self.public_url or f"http://127.0.0.1:{self.http_port}"

    @property
    def own_public_url(self) -> str:
        """Return the public URL of the side that this process serves, if one is set."""
        return self.operator_public_url if self.db_role == "operator" else self.public_url

    @property
    def effective_node_id(self) -> str:
        """Return the id of this process's node: the name of this machine, unless set."""
        return self.node_id or socket.gethostname()

    @property
    def effective_fetcher_socket(self) -> Path:
        """Return the unix socket of the fetcher."""
        return Path(self.fetcher_socket) if self.fetcher_socket else self.home / "run" / "fetcher.sock"

    @property
    def effective_cpu_devices(self) -> int:
        """Return the number of CPU devices of this host: the cores, unless set."""
        return self.cpu_devices or os.cpu_count() or 1

    def masked(self) -> dict[str, str]:
        """Return every effective value by environment name, secrets masked."""
        shown = {}
        for name, field in type(self).model_fields.items():
            value = str(getattr(self, name))
            shown[str(field.validation_alias)] = variables.mask(value) if value and name in variables.SECRETS else value
        return shown


#: Accepted names, each also with `_FILE`.
NAMES = frozenset(OPERATOR_SECRETS.values()) | {str(one.validation_alias) for one in Environment.model_fields.values()}


def read(given: Mapping[str, str]) -> Environment:
    """Return the settings of these variables; raise `SettingsInvalid` naming every missing or wrong one."""
    values = variables.chosen(given, NAMES)
    names = OPERATOR_SECRETS if values.get("EXCHEQUER_DB_ROLE") == "operator" else {}
    values, wrong = node_settings.completed(values | {name: values.get(own, "") for name, own in names.items()})
    if wrong:
        raise SettingsInvalid("Exchequer refuses to start:\n" + "\n".join(f"  {line}" for line in wrong))
    try:
        return Environment.model_validate(values)
    except ValidationError as error:
        faults = [(".".join(str(part) for part in fault["loc"]), fault["msg"]) for fault in error.errors()]
        lines = [f"  {names.get(name, name)}: {message}" for name, message in faults]
        raise SettingsInvalid("Exchequer cannot start; set these:\n" + "\n".join(lines)) from error


def load() -> Environment:
    """Read the environment of this process; raise `SettingsInvalid` naming every missing or wrong value."""
    try:
        os.environ.update(with_secret_files(os.environ))
    except variables.Unreadable as error:
        raise SettingsInvalid(str(error)) from error
    try:
        return read(os.environ)
    except SettingsInvalid as invalid:
        if node_settings.is_given(os.environ):
            raise
        raise SettingsInvalid(
            f"{invalid}\nor start an installation on this machine with `make up`: it keeps them for commands, and there are "
            f"none that this user may read in {_kept_environment()}."
        ) from invalid


def with_secret_files(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with the contents of secret files. Raises `Unreadable`.

    The key before an interrupted rotation lies beside the master key.
    """
    found = variables.from_files(given, NAMES)
    previous = "EXCHEQUER_MASTER_KEY_PREVIOUS"
    file, named = given.get("EXCHEQUER_MASTER_KEY_FILE"), given.get(previous) or given.get(f"{previous}_FILE")
    if file and not named and (beside := Path(f"{file}.previous")).exists():
        found |= variables.from_files({f"{previous}_FILE": str(beside)}, [previous])
    return found


def _kept_environment() -> Path:
    """Return the path of the environment that `make up` stores for its installation."""
    return variables.home(os.environ) / "environment.json"


def use_django_settings() -> None:
    """Name the settings module to Django, unless the caller chose another."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


def find_local_installation() -> None:
    """Fill missing variables from the installation that `make up` runs in EXCHEQUER_HOME, if any."""
    kept = _kept_environment()
    if not node_settings.is_given(os.environ) and os.access(kept, os.R_OK):
        os.environ.update(json.loads(kept.read_text()) | variables.chosen(os.environ, os.environ))


def choose_database_role(command: str) -> None:
    """Set `EXCHEQUER_DB_ROLE` for a management command unless the caller chose: owner to migrate, else control."""
    use_django_settings()
    find_local_installation()
    os.environ.setdefault("EXCHEQUER_DB_ROLE", "owner" if command in OWNER_COMMANDS else "control")


@cache
def load_once() -> Environment:
    """Return the settings of this process, read at first use."""
    return load()


def __getattr__(name: str) -> Environment:
    if name == "env":
        return load_once()
    raise AttributeError(name)
