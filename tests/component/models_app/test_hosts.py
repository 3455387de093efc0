"""Real training on devices of two hosts: the ranks find the same model as one, and a lost one is made good."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from compute import kinds
from compute.agent.gang import Gang
from compute.agent.meeting import Meeting, way_of
from compute.agent.peer_network import PeerNetwork
from compute.agent.rank_host import RankHost
from compute.devices.base import Reading
from compute.leases import parts
from compute.sandbox import workdirs
from compute.sandbox.process import Slot
from models_app.runner import main
from tests.component.models_app.test_gang import alone, losses, wait_for_a_checkpoint
from tests.component.models_app.test_runner import TARGET, ended, parquet
from tests.support.waiting import wait_until

__all__ = ["alone", "parquet"]
pytestmark = pytest.mark.xdist_group("runner")

HERE, THERE = Slot("cpu", "cpu-0", 0, 1, 1 << 32), Slot("cpu", "cpu-1", 1, 1, 1 << 32)


class Idle:
    """A sampler of a device that nothing else uses."""

    def read(self, uuid: str, group: int) -> Reading:
        return Reading(busy=0.5, memory_bytes=1, power_w=None)


@dataclass
class TwoHosts:
    """A gang here, and the host of its second rank."""

    gang: Gang
    host: RankHost
    meeting: Meeting
    work: Path


@pytest.fixture
def two_hosts(
    tmp_path: Path, parquet: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Iterator[Callable[..., TwoHosts]]:
    """Start a gang whose second rank runs on another host: in processes of its own, reached through TLS alone."""
    started: list[tuple[TwoHosts, threading.Thread]] = []

    def start(**params: object) -> TwoHosts:
        work, there = tmp_path / "here" / "w", tmp_path / "there"
        for folder in (work / "in", work / "out", there):
            folder.mkdir(parents=True)
        shutil.copy(parquet, work / "in" / "data.parquet")
        part = parts.Part(uuid4(), uuid4(), "train", uuid4(), 1, "two", {1: THERE})
        payload = {
            "attempt": str(part.attempt_id), "task": "train", "threads": 1, "seed": 1, "recipe": "tabular.classifier",
            "params": {"dropout": 0.0, "patience": 50, **params}, "inputs": {"target": TARGET},
            "limits": {"checkpoint_s": 0.05}, "resume": False,
        }  # fmt: skip
        network = PeerNetwork(1)
        meeting = Meeting(
            network=network, ranks={"two": [1]}, bind=("127.0.0.1", range(1)), silence_s=2.0, spool=work.parent
        )
        monkeypatch.setattr(parts, "look", lambda _: parts.Sight(meeting.rendezvous, 30.0))
        monkeypatch.setattr(kinds, "get", lambda _: SimpleNamespace(entrypoint=Path(main.__file__)))
        host = RankHost(part, Idle(), there)
        thread = threading.Thread(target=host.run, daemon=True)
        thread.start()
        meeting.gather(20, lambda: False)
        meeting.hand_out(work / "in", None)
        gang = Gang(
            entrypoint=Path(main.__file__), workdir=work, slots={0: HERE}, payload=payload,
            sandbox_required=False, meeting=meeting,
        )  # fmt: skip
        hosts = TwoHosts(gang, host, meeting, work)
        started.append((hosts, thread))
        return hosts

    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(
        update={"lease_s": 6.0, "heartbeat_s": 0.2, "sandbox": "best_effort"}
    )
    yield start
    for hosts, thread in started:
        hosts.gang.kill()
        thread.join(30)
        assert not thread.is_alive(), "the other host ends with the attempt"
        assert not list((tmp_path / "there").iterdir()), "it leaves nothing"


def said(gang: Gang) -> str:
    return "\n".join([*gang.lines, *map(str, gang.said)])


def test_ranks_on_two_hosts_learn_what_one_does(two_hosts: Callable[..., TwoHosts], alone: dict[int, float]) -> None:
    hosts = two_hosts(epochs=8)
    assert ended(hosts.gang) == 0, said(hosts.gang)
    assert losses(hosts.gang) == pytest.approx(alone, rel=1e-3)
    assert {(one["rank"], one["busy"]) for one in hosts.gang.samples()} == {(1, 0.5)}


AT_NIGHT = [pytest.param(one, marks=pytest.mark.nightly) for one in ("here", "the way")]


@pytest.mark.parametrize("lost", ["there", *AT_NIGHT])
def test_a_lost_rank_of_two_hosts_is_made_good_from_the_last_checkpoint(
    two_hosts: Callable[..., TwoHosts], alone: dict[int, float], lost: str
) -> None:
    hosts = two_hosts(epochs=8)
    wait_for_a_checkpoint(hosts.gang, hosts.work)
    if lost == "here":
        os.killpg(hosts.gang.members[0].group, signal.SIGKILL)
    elif lost == "there":
        (rank,) = hosts.host._children.values()
        os.killpg(rank.group, signal.SIGKILL)
    else:
        link = hosts.host._link
        assert link is not None
        link.abort()
    assert ended(hosts.gang) == 0, said(hosts.gang)
    assert losses(hosts.gang) == pytest.approx(alone, rel=1e-3)
    assert any("all ranks start again" in line for line in hosts.gang.lines)


def test_a_host_that_leaves_has_the_job_stop_with_a_checkpoint(two_hosts: Callable[..., TwoHosts]) -> None:
    hosts = two_hosts(epochs=400, patience=100)
    wait_for_a_checkpoint(hosts.gang, hosts.work)
    hosts.host.shut_down()
    wait_until(lambda: hosts.gang.leaving, "the other host's word")
    hosts.gang.ask_to_stop()
    assert ended(hosts.gang) == 75
    assert (hosts.work / "checkpoint" / "manifest.json").exists()


def test_only_a_host_that_knows_the_secret_comes_in(tmp_path: Path) -> None:
    network = PeerNetwork(1)
    meeting = Meeting(network=network, ranks={"two": [1]}, bind=("127.0.0.1", range(1)), silence_s=2.0, spool=tmp_path)
    try:
        at = meeting.rendezvous
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=at["certificate"])
        for hello in (
            b"{}",
            b"[1]",
            b'{"node": "two", "secret": "x"}',
            b'{"node": "three", "secret": "%b"}' % at["secret"].encode(),
        ):
            plain = socket.create_connection(("127.0.0.1", at["port"]), timeout=10)
            with context.wrap_socket(plain) as line:
                line.sendall(b"m" + len(hello).to_bytes(4, "big") + hello)
                with contextlib.suppress(OSError):  # reset, or the end of the stream
                    assert line.recv(1) == b""
        assert meeting.missing() == ["two"]
        with socket.create_connection(("127.0.0.1", at["port"]), timeout=10) as unencrypted:
            unencrypted.sendall(b"m\0\0\0\2{}")
            assert unencrypted.recv(100)[:1] in {b"", b"\x15"}, "a TLS alert, or nothing"
    finally:
        meeting.close()


def test_a_packet_is_carried_only_between_hosts_of_the_job() -> None:
    def packet(source: str, target: str) -> bytes:
        return bytes([0x45, *[0] * 11]) + socket.inet_aton(source) + socket.inet_aton(target)

    assert way_of(packet("10.213.0.2", "10.213.0.1")) == (2, 1)
    assert way_of(packet("10.213.0.2", "10.214.0.1")) is None
    assert way_of(packet("192.168.0.2", "10.213.0.1")) is None
    assert way_of(b"\x60" + bytes(40)) is None
    assert way_of(b"") is None


def test_a_checkpoint_that_is_a_link_is_handed_to_no_rank(tmp_path: Path, parquet: Path) -> None:
    """What a rank left is its own work: a link in it must not make the host read for another rank."""
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    work = tmp_path / "w"
    workdirs.make(work)
    shutil.copy(parquet, work / "in" / "data.parquet")
    payload: dict[str, Any] = {
        "attempt": "a1", "task": "train", "seed": 1, "recipe": "tabular.classifier",
        "params": {"epochs": 400, "patience": 100}, "inputs": {"target": TARGET}, "limits": {"checkpoint_s": 0.05}, "resume": False,
    }  # fmt: skip
    gang = Gang(
        entrypoint=Path(main.__file__), workdir=work, slots={0: HERE, 1: THERE}, payload=payload,
        sandbox_required=False,
    )  # fmt: skip
    try:
        wait_for_a_checkpoint(gang, work)
        os.killpg(gang.members[1].group, signal.SIGSTOP)
        for number in range(40):
            (work / "checkpoint" / f"link-{number}").symlink_to(secret)
        os.killpg(gang.members[1].group, signal.SIGKILL)
        wait_until(lambda: any("all ranks start again" in line for line in gang.lines), "the restart")
        time.sleep(0.2)
        assert not [path for path in tmp_path.glob("w.1/checkpoint/*") if path.name.startswith("link")]
    finally:
        gang.kill()
