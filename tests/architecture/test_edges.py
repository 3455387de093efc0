"""Every page, endpoint and operation declares its requirements (trust T5, first half; A1)."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

import billing
import compute
import dashboards
import models_app
import tenants
from tenants.access.operator_roles import OPERATOR_PERMISSIONS
from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS
from tenants.web.views import ApiView
from tests.architecture.trees import parsed

ROOT = Path(__file__).resolve().parents[2]

#: Pages of a tenant for people who are not logged in yet: the log-in by its identity provider.
STRANGERS = {f"provider-{name}" for name in ("log-in", "callback", "acs", "finish", "metadata", "join")}
METHODS = ("get", "post", "put", "patch", "delete")
#: Routes without a tenant: the start page, login, health, the API's own description, signed events of the payment provider.
PUBLIC = {"entrance", "healthz", "readyz", "schema", "api-docs", "metrics", "look-open", "look-leave", "stripe-events"}
#: allauth's pages of one's own account, the same ones on both ports, with those that are closed.
ACCOUNTS = {
    *(f"account_{name}" for name in ("login", "logout", "inactive", "reauthenticate", "change_password")),
    *(f"account_reset_password{name}" for name in ("", "_done", "_from_key", "_from_key_done")),
    *(f"mfa_{name}" for name in ("index", "authenticate", "reauthenticate", "activate_totp", "deactivate_totp")),
    *(f"mfa_{name}_recovery_codes" for name in ("view", "generate", "download")),
    *(f"mfa_{name}_webauthn" for name in ("list", "add", "reauthenticate", "remove", "edit")),
    "account_email", "account_email_verification_sent", "account_confirm_email", "account_confirm_login_code",
    "account_set_password", "account_signup",
}  # fmt: skip
#: What an identity provider asks, with its own token.
SCIM = {
    f"scim-{name}" for name in ("users", "user", "groups", "group", "config", "resource-types", "schemas", "nothing")
}
#: Where nodes ask for what their live work needs.
NODE = {"node-key", "node-link", "node-list", "node-remove"}


def routes(patterns: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, prefix + str(entry.pattern))
        else:
            yield prefix + str(entry.pattern), entry


def test_every_tenant_page_declares_a_permission() -> None:
    every = [(route, pattern) for route, pattern in routes() if route.startswith("t/")]
    open_ones = {pattern.name for _, pattern in every if getattr(pattern.callback, "for_strangers", False)}
    assert open_ones == STRANGERS
    pages = [(route, pattern) for route, pattern in every if pattern.name not in STRANGERS]
    undeclared = [route for route, pattern in pages if getattr(pattern.callback, "permission", None) not in PERMISSIONS]
    assert pages
    assert undeclared == []


def test_every_endpoint_declares_a_permission_for_each_method() -> None:
    faults = []
    endpoints = [(route, pattern) for route, pattern in routes() if route.startswith("api/v1/")]
    for route, pattern in endpoints:
        view = getattr(pattern.callback, "cls", None)
        if view is None or not issubclass(view, ApiView):
            faults.append(f"{route}: not an Endpoint")
            continue
        for method in METHODS:
            if hasattr(view, method) and view.permissions.get(method.upper()) not in PERMISSIONS:
                faults.append(f"{route}: {method}")
    assert endpoints
    assert faults == []


def test_every_page_of_the_console_names_a_permission_of_operators() -> None:
    pages = dict(routes(get_resolver("config.console.urls").url_patterns))
    own = {route: pattern for route, pattern in pages.items() if not route.startswith(("accounts/", "api/"))}
    free = {"healthz", "readyz", "metrics", "entrance", "node-join"}  # the token of a machine that joins is its right
    faults = [
        route
        for route, pattern in own.items()
        if pattern.name not in free
        and getattr(pattern.callback, "operator_permission", None) not in OPERATOR_PERMISSIONS
    ]
    views = {route: pattern.callback.cls for route, pattern in pages.items() if route.startswith("api/operator/")}
    for route, view in views.items():
        asked = {view.permissions.get(method.upper()) for method in METHODS if hasattr(view, method)}
        faults += [route] if asked - OPERATOR_PERMISSIONS - {"own"} else []
    assert len(own) > 10
    assert len(views) > 10
    assert faults == []


#: Asked for the whole organisation, although a project can have them: what is asked for lies in no project, or in all.
OF_THE_WHOLE = {
    ("tenants/identity/members.py", "endpoints.manage"),
    ("billing/reported/sender_limits.py", "budgets.manage"),
    ("compute/jobs/departures.py", "jobs.cancel_any"),
}


def test_what_a_project_can_give_is_asked_for_with_a_target() -> None:
    """Without one, a member who holds it in one project is refused there, or a check of the wrong project passes."""
    asked, without = 0, set()
    for package in (tenants, billing, compute, models_app, dashboards):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            for node in ast.walk(parsed(path)):
                if (
                    not isinstance(node, ast.Call)
                    or not isinstance(node.func, ast.Attribute)
                    or node.func.attr != "require"
                ):
                    continue
                named = node.args[0] if node.args else None
                if isinstance(named, ast.Constant) and named.value in PROJECT_PERMISSIONS:
                    asked += 1
                    if len(node.args) + len(node.keywords) < 2:
                        without.add((path.relative_to(ROOT).as_posix(), named.value))
    assert asked > 20
    assert without == OF_THE_WHOLE


def test_no_other_route_exists() -> None:
    others = {pattern.name for route, pattern in routes() if not route.startswith(("t/", "api/v1/"))}
    assert others == PUBLIC | ACCOUNTS | SCIM | {"dash-bundle", "join", "find-provider", *NODE}
    console = {
        pattern.name
        for route, pattern in routes(get_resolver("config.console.urls").url_patterns)
        if not hasattr(pattern.callback, "operator_permission") and not route.startswith("api/operator/v1/")
    }
    assert console == ACCOUNTS | {"healthz", "readyz", "schema", "node-join"}


def test_no_module_that_the_web_process_imports_imports_torch() -> None:
    import subprocess
    import sys

    code = "import sys, django; django.setup(); from django.urls import get_resolver; get_resolver().url_patterns; import config.wsgi; print([m for m in ('torch', 'pyarrow', 'scipy', 'typst') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_operation_takes_an_actor() -> None:
    faults, found = [], 0
    for package in (tenants, billing, compute, models_app, dashboards):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if (
                ".migrations" in info.name
                or ".runner" in info.name
                or ".management" in info.name
                or info.name.endswith((".train", ".predict"))
            ):
                continue
            for name, thing in vars(importlib.import_module(info.name)).items():
                if hasattr(thing, "audit_action") and thing.__module__ == info.name:
                    found += 1
                    names = list(thing.__wrapped__.__kwdefaults__ or {}) + list(thing.__wrapped__.__code__.co_varnames)
                    if "actor" not in names or thing.__wrapped__.__code__.co_argcount:
                        faults.append(f"{info.name}.{name}")
    assert found >= 8
    assert faults == []


#: The token of a lease comes with its attempt, the keys of files with their tenant.
OF_A_TENANT = {"message_id", "tenant_id", "attempt_id", "token", "version_id", "keys", "job_id"}


def test_a_message_to_a_worker_names_its_tenant_or_concerns_all() -> None:
    from config.celery import app

    app.loader.import_default_modules()
    found = 0
    for name, task in app.tasks.items():
        if not name.startswith("celery."):
            taken = set(inspect.signature(task.run).parameters)
            assert not taken or "tenant_id" in taken, name
            assert taken <= OF_A_TENANT, f"{name}: a message holds ids alone, and what they name is read in its tenant"
            found += bool(taken)
    assert found >= 5
