"""A person at the operators' console of a running installation, without a browser: password, second factor, forms and API."""

from __future__ import annotations

import re
from typing import Any

import requests

from tests.support.console import code_of

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
SECRET = re.compile(r"<code>([A-Z2-7]{16,})</code>")


class ConsoleClient:
    """A logged-in operator, who sets up a second factor at the first log-in as the console demands."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self.url, self.session = url, requests.Session()
        factor = "/accounts/2fa/totp/activate/"
        for path, given in (
            ("/accounts/login/", {"login": email, "password": password}),
            ("/accounts/reauthenticate/", {"password": password, "next": factor}),
        ):
            self._submit(path, self._page(path), given)
        offered = self._page(factor)  # each look at this page offers another secret
        secret = SECRET.search(offered)
        assert secret, "the console offers an authenticator app"
        self._submit(factor, offered, {"code": code_of(secret.group(1))})

    def get(self, path: str, **query: str) -> Any:
        """Return the JSON of the operators' API."""
        return self._json("GET", path, params=query)

    def send(self, method: str, path: str, **body: Any) -> Any:
        """Change something by the operators' API; return its JSON, None if there is none."""
        headers = {"X-CSRFToken": self.session.cookies.get_dict().get(self._csrf_cookie(), ""), "Referer": self.url}
        return self._json(method, path, json=body, headers=headers)

    def _csrf_cookie(self) -> str:
        return next(name for name in self.session.cookies.get_dict() if "csrf" in name)

    def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = self.session.request(method, f"{self.url}/api/operator/v1/{path}", timeout=60, **options)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def _submit(self, path: str, page: str, given: dict[str, str]) -> None:
        """Submit a page's form; it must be accepted, which leads to another page."""
        form = {"csrfmiddlewaretoken": TOKEN.findall(page)[-1], **given}
        headers = {"Referer": f"{self.url}{path}"}
        answer = self.session.post(f"{self.url}{path}", form, headers=headers, timeout=30, allow_redirects=False)
        assert answer.status_code == 302, f"{path}: {answer.status_code} {answer.text[-2000:]}"

    def _page(self, path: str) -> str:
        answer = self.session.get(f"{self.url}{path}", timeout=30)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.text
