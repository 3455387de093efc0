"""The shipped nginx configuration: its syntax, what it sends where, and at night a login through it."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.api.config.test_hosts import Behind, make_owner, served
from tests.support.servers import proxy
from tests.support.servers.ports import free_ports
from tests.support.waiting import wait_until

CONFIGURATION = Path(__file__).resolve().parents[3] / "deploy/nginx/exchequer.conf"
NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed here")


def configured(folder: Path, web: int) -> tuple[Path, int]:
    """Write the shipped file with a test's ports, names and certificate, and its surroundings; return the TLS port."""
    plain, tls, serving, usage = free_ports(4)
    file = proxy.certificate(folder)
    text = CONFIGURATION.read_text()
    for shipped, here in (
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{tls} ssl"),
        ("127.0.0.1:8000", f"127.0.0.1:{web}"),
        ("127.0.0.1:8001", f"127.0.0.1:{serving}"),
        ("127.0.0.1:8003", f"127.0.0.1:{usage}"),
        ("predict.exchequer.example", "predict.localhost"),
        ("server_name exchequer.example", "server_name localhost"),
        ("/etc/ssl/exchequer/fullchain.pem", str(file)),
        ("/etc/ssl/exchequer/key.pem", str(file)),
    ):
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    whole = folder / "nginx.conf"
    kept = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole.write_text(
        f"pid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{kept}{text}}}\n"
    )
    return whole, tls


def reached(url: str) -> bool:
    """Return whether a server answers at a URL."""
    try:
        requests.head(url, allow_redirects=False, timeout=5)
    except requests.ConnectionError:
        return False
    return True


def test_its_syntax_is_right(tmp_path: Path) -> None:
    file, _ = configured(tmp_path, 8000)
    done = subprocess.run([str(NGINX), "-t", "-c", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr.replace('the "user" directive makes sense only', ""), done.stderr


def test_it_keeps_each_name_and_serves_no_other(tmp_path: Path) -> None:
    file, tls = configured(tmp_path, free_ports(1)[0])
    found = re.search(r"listen 127.0.0.1:(\d+);", file.read_text())
    assert found is not None
    plain = f"http://127.0.0.1:{found[1]}/v2/"
    with subprocess.Popen([str(NGINX), "-c", str(file), "-g", "daemon off; master_process off;"]) as nginx:
        try:
            wait_until(lambda: reached(plain), "nginx")
            for name in ("localhost", "predict.localhost"):
                led = requests.get(plain, headers={"Host": name}, allow_redirects=False, timeout=10)
                assert led.headers["Location"] == f"https://{name}/v2/"
            person = proxy.visitor("127.0.0.11", tmp_path / "localhost.pem")
            assert person.get(f"https://localhost:{tls}/", headers={"Host": "evil.example"}).status_code == 421
        finally:
            nginx.terminate()


def test_small_reports_of_usage_reach_the_usage_server_and_large_ones_the_web(tmp_path: Path) -> None:
    file, tls = configured(tmp_path, free_ports(1)[0])
    web, usage = (int(port) for port in re.findall(r"server 127.0.0.1:(\d+);", file.read_text())[:2])
    (plain,) = re.findall(r"listen 127.0.0.1:(\d+);", file.read_text())[:1]
    with (
        named("web", web),
        named("usage", usage),
        subprocess.Popen([str(NGINX), "-c", str(file), "-g", "daemon off; master_process off;"]) as nginx,
    ):
        try:
            person, url = proxy.visitor("127.0.0.11", tmp_path / "localhost.pem"), f"https://localhost:{tls}"
            wait_until(lambda: reached(f"http://127.0.0.1:{plain}/"), "nginx")
            takers = [
                person.post(f"{url}/api/v1/events/", data=body, timeout=10).text
                for body in (b"x" * 9_999, b"x" * 10_000, iter([b"x"]))
            ]
            assert takers == ["usage", "web", "web"], "without a length it may be large"
        finally:
            nginx.terminate()


@contextmanager
def named(name: str, port: int) -> Iterator[None]:
    """Answer each POST on a port with a name."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

    with ThreadingHTTPServer(("127.0.0.1", port), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


@pytest.mark.nightly
def test_log_in_through_it(
    tmp_path: Path, process_environment: Callable[..., dict[str, str]], transactional_db: None
) -> None:
    slug, email = make_owner()
    (web,) = free_ports(1)
    tmp_path.chmod(0o755)
    file, tls = configured(tmp_path, web)
    url = f"https://localhost:{tls}"
    nginx = subprocess.Popen([str(NGINX), "-c", str(file), "-g", "daemon off; master_process off;"])
    try:
        with served(
            process_environment(EXCHEQUER_PUBLIC_URL=url, EXCHEQUER_TRUSTED_PROXIES="127.0.0.1"), web, tmp_path
        ):
            house = Behind(url, tmp_path / "localhost.pem", web, email, slug)
            person = proxy.visitor("127.0.0.11", house.file)
            wait_until(lambda: person.get(f"{url}/healthz", timeout=5).ok, "nginx")
            claim = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
            assert house.log_in(person, **claim) == "302 /"
            assert person.get(f"{url}/t/{slug}/members/", timeout=30).status_code == 200
            guesser = proxy.visitor("127.0.0.12", house.file)
            for number in range(5):
                assert house.log_in(guesser, password="wrong", **{"X-Forwarded-For": f"203.0.113.{number}"}) == "200"
            assert house.log_in(guesser) == "429"
            assert house.log_in(proxy.visitor("127.0.0.13", house.file)) == "302 /"
    finally:
        nginx.terminate()
        nginx.wait(30)
