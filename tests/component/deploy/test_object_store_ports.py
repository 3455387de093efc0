"""Other users of this machine cannot read or list the object store, neither by HTTP nor with its own shell."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from deploy.local.services import SEAWEED_PORTS, _script
from tests.conftest import SESSION

PATHS = {
    "master": ("/dir/status", "/dir/lookup?volumeId=1&read=yes", "/dir/assign", "/vol/status", "/"),
    "volume": ("/status", "/ui/index.html", "/1,01"),
    "filer": ("/", "/buckets/", "/buckets/?pretty=y"),
    "s3": ("/", "/{bucket}", "/{bucket}?list-type=2"),
}
NOBODY = 65534


@pytest.fixture
def ports(s3_server) -> dict[str, int]:
    return dict(zip(SEAWEED_PORTS, json.loads((SESSION.folder / "seaweedfs.json").read_text()), strict=True))


@pytest.mark.parametrize("part", PATHS)
def test_no_port_answers_a_caller_without_secrets(s3_server, ports, part) -> None:
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    for scheme in ("http", "https"):
        for path in PATHS[part]:
            url = f"{scheme}://127.0.0.1:{ports[part]}{path.format(bucket=s3_server.bucket)}"
            with pytest.raises(OSError, match=r".") as refused:  # an HTTPError is one
                urllib.request.urlopen(url, timeout=10, context=careless)  # noqa: S310
            if isinstance(refused.value, urllib.error.HTTPError):  # else the handshake requires a certificate
                assert refused.value.code in (400, 403), url
                refused.value.close()


def test_the_stores_own_shell_lists_nothing_for_another_user(s3_server, ports, tmp_path) -> None:
    """As another user if possible, else as a caller without this installation's files."""
    master, filer = (f"127.0.0.1:{ports[part]}.{ports[f'{part}_grpc']}" for part in ("master", "filer"))
    shell = subprocess.Popen(
        [_script("weed"), "shell", f"-master={master}", f"-filer={filer}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"PATH": os.defpath, "HOME": "/nonexistent"},
        text=True,
        **({"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}),
    )
    try:
        said, _ = shell.communicate("fs.ls /buckets\nvolume.list\n", timeout=8)
    except subprocess.TimeoutExpired:  # it retries forever
        shell.kill()
        said, _ = shell.communicate()
    assert s3_server.bucket not in said
    assert "volume id" not in said.lower()


def test_files_with_credentials_are_readable_by_their_owner_only(s3_server) -> None:
    folder: Path = SESSION.folder / "seaweedfs"
    for name in ("security.toml", "s3.json", "key.pem"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
    assert (folder / "data").stat().st_mode & 0o077 == 0
