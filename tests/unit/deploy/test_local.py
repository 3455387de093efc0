"""Start on one machine: what is decided before anything runs."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import DATABASE_URLS, Environment, SettingsInvalid, load
from config.variables import SECRETS as SECRET_FIELDS
from deploy import chromium, procfs
from deploy.local import accounts, services
from deploy.local.plan import plan_for, with_secret_files
from deploy.local.postgres import Cluster, StartError, random_passwords
from deploy.local.state_dir import MASTER_KEY, Home
from deploy.server.web import FORM_BYTES

ROOT = Path(__file__).resolve().parents[3]
GIVEN_DATABASE = {
    "DATABASE_URL": "postgresql://a@db/x",
    "DATABASE_CONTROL_URL": "postgresql://c@db/x",
    "DATABASE_OWNER_URL": "postgresql://o@db/x",
    "DATABASE_OPERATOR_URL": "postgresql://p@db/x",
}
SECRETS = {str(Environment.model_fields[field].validation_alias) for field in SECRET_FIELDS}
GIVEN_STORE = {"S3_ENDPOINT_URL": "https://s3.example", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "h")
    made.take()
    return made


def test_the_proxy_that_is_shipped_lets_a_file_of_the_largest_size_pass() -> None:
    shipped = (Path(__file__).resolve().parents[3] / "deploy/nginx/exchequer.conf").read_text()
    largest = re.search(r"client_max_body_size (\d+)m;", shipped)
    default = Environment.model_fields["max_upload_mb"].default
    assert largest is not None
    assert int(largest[1]) * 1024 * 1024 >= default * 1024 * 1024 + FORM_BYTES


def test_parts_whose_url_is_given_are_not_started(home: Home) -> None:
    plan = plan_for(home, GIVEN_DATABASE | GIVEN_STORE | {"BROKER_URL": "redis://q/0"})
    assert (plan.cluster, plan.valkey, plan.seaweedfs) == (None, None, None)
    assert plan.environment("app")["DATABASE_URL"] == "postgresql://a@db/x"
    assert plan.shared["BROKER_URL"] == "redis://q/0"


def test_without_any_url_all_three_services_are_ours(home: Home) -> None:
    plan = plan_for(home, {"EXCHEQUER_HTTP_PORT": "8123"})
    assert plan.cluster
    assert plan.valkey
    assert plan.seaweedfs
    assert plan.url == "http://127.0.0.1:8123"
    assert plan.environment("control")["BROKER_URL"] == plan.valkey.url


@pytest.mark.parametrize("role", ["app", "control", "owner"])
def test_an_environment_holds_the_url_of_its_role_alone(home: Home, role: str) -> None:
    environment = plan_for(home, {"EXCHEQUER_INIT_PASSWORD": "p", "PATH": "/bin"}).environment(role)
    assert {name for name in environment if name.startswith("DATABASE")} == {DATABASE_URLS[role]}
    assert "EXCHEQUER_INIT_PASSWORD" not in environment
    assert environment["PATH"] == "/bin"


def test_an_object_store_without_its_keys_is_refused(home: Home) -> None:
    with pytest.raises(StartError, match="AWS_ACCESS_KEY_ID"):
        plan_for(home, {"S3_ENDPOINT_URL": "https://s3.example"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXCHEQUER_HTTP_PORT", "0"),
        ("EXCHEQUER_SERVING_PORT", "70000"),
        ("EXCHEQUER_HTTP_PORT", "web"),
        ("EXCHEQUER_CPU_DEVICES", "two"),
        ("EXCHEQUER_DEMO", "maybe"),
        ("EXCHEQUER_SANDBOX", "strict"),
        ("EXCHEQUER_LEASE_S", "-1"),
        ("EXCHEQUER_MASTER_KEY", "short"),
        ("EMAIL_URL", "mail.example.org"),
        ("EXCHEQUER_OUTBOUND_ALLOW", "idp.corp.example"),
        ("EXCHEQUER_PUBLIC_URL", "exchequer.example"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_made(home: Home, name: str, value: str) -> None:
    with pytest.raises(StartError, match=name):
        plan_for(home, {name: value})
    assert not (home.path / MASTER_KEY).exists()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("EXCHEQUER_HTTP_PROT", "EXCHEQUER_HTTP_PORT"),
        ("EXCHEQUER_DEM0", "EXCHEQUER_DEMO"),
        ("EXCHEQUER_HOM", "EXCHEQUER_HOME"),
        ("EXCHEQUER_MASTERKEY_FILE", "EXCHEQUER_MASTER_KEY_FILE"),
        ("EXCHEQUER_INIT_EMAIL_ADDRESS", ""),
        ("EXCHEQUER_KEY", ""),
        ("EXCHEQUER_SERVICE_HOST", ""),
        ("EXCHEQUER_SERVICE_PORT", ""),
        ("EXCHEQUER_SERVING_SERVICE_PORT", ""),
        ("EXCHEQUER_SERVING_PORT_8001_TCP_PORT", ""),
    ],
)
def test_a_name_that_looks_mistyped_is_refused_with_the_one_that_was_meant(home: Home, typed: str, meant: str) -> None:
    if meant:
        with pytest.raises(StartError, match=f"{typed} is not a setting: did you mean {meant}\\?"):
            plan_for(home, {typed: "1"})
    else:
        plan_for(home, {typed: "1"})


@pytest.mark.parametrize("name", ["EXCHEQUER_SERVING_PORT", "EXCHEQUER_HTTP_PORT"])
@pytest.mark.parametrize("address", ["tcp://10.0.171.239:8001", "udp://10.0.171.239:53", "tcp://[fd00::17]:8001"])
def test_the_address_of_a_service_in_place_of_a_port_counts_as_not_given(home: Home, name: str, address: str) -> None:
    plan = plan_for(home, {name: address})
    assert (plan.settings.http_port, plan.settings.serving_port) == (8000, 8001)
    for wrong in ("tcp://", "tcp://10.0.171.239", "http://10.0.171.239:8001"):
        with pytest.raises(StartError, match=name):
            plan_for(home, {name: wrong})


@pytest.mark.parametrize("kept", [False, True])
def test_a_process_starts_beside_a_service_that_is_called_like_a_setting(tmp_path: Path, kept: bool) -> None:
    given = {"SECRET_KEY": "s" * 40, "EXCHEQUER_SERVING_PORT": "9001"}
    if kept:
        (tmp_path / "environment.json").write_text(json.dumps(given))
    beside = {"EXCHEQUER_HOME": str(tmp_path), "EXCHEQUER_SERVING_PORT": "tcp://10.0.171.239:8001"}
    environment = ({} if kept else given) | beside
    program = "from config import env; env.find_local_installation(); print(env.load().serving_port)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("9001" if kept else "8001", "")


def test_two_ports_that_are_one_are_refused(home: Home) -> None:
    with pytest.raises(StartError, match="are both 8001"):
        plan_for(home, {"EXCHEQUER_HTTP_PORT": "8001"})


def test_the_database_administrator_is_known_to_no_part(home: Home) -> None:
    plan = plan_for(home, GIVEN_DATABASE | {"DATABASE_ADMIN_URL": "postgresql://root@db/x"})
    assert not any("root@db" in str(plan.environment(role)) for role in DATABASE_URLS)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from the file\n")
    read = with_secret_files({"SECRET_KEY_FILE": str(tmp_path / "key")})
    assert read == {"SECRET_KEY": "from the file"}


def test_a_secret_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(StartError, match="SECRET_KEY_FILE: cannot read /nowhere"):
        with_secret_files({"SECRET_KEY_FILE": "/nowhere"})


def test_secrets_stay_and_ports_that_others_took_change(home: Home) -> None:
    first = home.secrets()
    with socket.socket() as other:
        other.bind(("127.0.0.1", first["ports"]["s3"]))
        second = home.secrets()
    assert second["ports"].pop("s3") != first["ports"].pop("s3")
    assert second == first
    assert stat.S_IMODE((home.path / "secrets.json").stat().st_mode) == 0o600


def test_a_master_key_is_made_once_and_no_other_takes_its_place(home: Home) -> None:
    home.secrets()
    named, made = home.master_key({})
    assert made == home.path / "master.key" and named == {"EXCHEQUER_MASTER_KEY_FILE": str(made)}
    key = made.read_text()
    assert home.master_key({}) == (named, None)
    home.secrets()
    made.unlink()
    with pytest.raises(StartError, match="put your copy of the key there"):
        home.master_key({})
    assert home.master_key({"EXCHEQUER_MASTER_KEY": key}) == ({"EXCHEQUER_MASTER_KEY": key}, None)


def test_the_key_before_an_interrupted_rotation_is_found_beside_the_master_key(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.secrets()
    named, made = home.master_key({})
    assert made
    previous = made.with_name("master.key.previous")
    previous.write_text(made.read_text())
    others = {name: value for name, value in os.environ.items() if not name.startswith("EXCHEQUER_MASTER_KEY")}
    for kept in (made.read_text().strip(), ""):
        monkeypatch.setattr(os, "environ", others | named)
        assert load().master_key_previous == kept
        previous.unlink(missing_ok=True)
    made.unlink()
    monkeypatch.setattr(os, "environ", others | named)
    with pytest.raises(SettingsInvalid, match="EXCHEQUER_MASTER_KEY_FILE: cannot read"):
        load()


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_named_file_that_is_missing_empty_or_no_text_is_refused_by_every_process(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {kept: value for kept, value in os.environ.items() if not kept.startswith(name)}
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    for file, said in (
        ("missing", "cannot read"),
        ("empty", "is empty"),
        ("noise", "not a text file"),
        (".", "cannot"),
    ):
        monkeypatch.setattr(os, "environ", others | {f"{name}_FILE": str(tmp_path / file)})
        with pytest.raises(SettingsInvalid, match=f"{name}_FILE: .*{said}"):
            load()


def test_a_home_is_held_by_one_process_at_a_time(home: Home) -> None:
    with pytest.raises(StartError, match=f"already runs on .* \\(process {os.getpid()}\\)"):
        Home(home.path).take()


def test_a_home_that_cannot_be_made_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="set EXCHEQUER_HOME"):
        Home(tmp_path / "file" / "h").take()


def test_a_long_log_is_rotated_at_the_next_start(home: Home) -> None:
    with home.log("web").open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    assert not home.fresh_log("web").exists()
    assert (home.logs / "web.log.1").exists()


def test_a_socket_path_over_100_bytes_is_refused() -> None:
    with pytest.raises(StartError, match="the path of the database socket is 11"):
        Cluster(Path("/tmp") / ("x" * 92), random_passwords())


def test_a_path_that_libpq_would_split_is_refused() -> None:
    with pytest.raises(StartError, match="without commas"):
        Cluster(Path("/tmp/a,b"), random_passwords())


def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    cluster = Cluster(Path("/tmp") / "exq-old", random_passwords())
    cluster.data = tmp_path
    (tmp_path / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartError, match="made by PostgreSQL 17, this is 18"):
        cluster.make_data()


def test_only_the_missing_right_to_pass_is_added_to_parents(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    (closed / "inner").chmod(0o755)
    stranger = accounts.SystemAccount("stranger", 64999, 64999)
    opened = accounts.open_parents(closed / "inner" / "file", stranger)
    assert closed in opened
    assert closed / "inner" not in opened
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert accounts.open_parents(closed / "inner" / "file", stranger) == []


def test_a_root_start_never_uses_the_account_of_attempts() -> None:
    assert "nobody" not in accounts.CANDIDATES
    if os.geteuid() == 0:
        assert accounts.server_account().uid != 0


def test_descendants_are_found_below_a_process() -> None:
    assert os.getpid() in procfs.descendants(os.getppid())
    assert procfs.alive(os.getpid())
    assert not procfs.alive(2**22 - 1)


def test_free_ports_differ_and_are_free() -> None:
    ports = services.free_ports(5)
    assert len(set(ports)) == 5
    assert all(services.port_free(port) for port in ports)


def test_a_named_chromium_is_taken_or_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chromium.find({"CHROMIUM": "/bin/sh"}) == "/bin/sh"
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    assert chromium.main() == 1
    assert "CHROMIUM=/nowhere/chromium is no program" in capsys.readouterr().err
