"""The environment of a test process: complete, harmless, and independent of the caller's shell."""

import os

from tests.support.servers.services import Session

#: Set by the person who runs the tests, and meant for them.
KEPT = ("EXCHEQUER_TEST_SESSION", "STRIPE_TEST_KEY")
FAMILIES = ("EXCHEQUER_", "DATABASE_", "AWS_", "S3_", "STRIPE_")


def use_test_environment() -> Session:
    """Set every variable that the settings read, before anything imports them; return the session's services."""
    for name in [name for name in os.environ if name.startswith(FAMILIES) and name not in KEPT]:
        del os.environ[name]
    # Some shells set it; each of the many processes that tests start would then compile the product again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    session = Session.current()
    home = session.folder / "home"
    home.mkdir(exist_ok=True)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "EXCHEQUER_HOME": str(home),
        "EXCHEQUER_DB_ROLE": "app",
        "EXCHEQUER_NODE_ID": "test-node",
        "EXCHEQUER_CPU_DEVICES": "2",
        "EXCHEQUER_SANDBOX": "best_effort",
        "SECRET_KEY": "a secret key for tests, known to everybody",
        "EXCHEQUER_MASTER_KEY": "dGhlIG1hc3RlciBrZXkgb2YgZXZlcnkgdGVzdCBydW4=",
        "ALLOWED_HOSTS": "127.0.0.1,localhost,testserver",
        "DATABASE_URL": session.cluster.url("exchequer_app"),
        "DATABASE_CONTROL_URL": session.cluster.url("exchequer_control"),
        "DATABASE_OWNER_URL": session.cluster.url("exchequer_owner"),
        "DATABASE_OPERATOR_URL": session.cluster.url("exchequer_operator"),
        "EXCHEQUER_OPERATOR_SECRET_KEY": "another secret key for tests, known too",
        "EXCHEQUER_API_RATE": "0",
        "EXCHEQUER_DNS_SERVER": "127.0.0.1:9",
        "EXCHEQUER_MAX_UPLOAD_MB": "50",
        "BROKER_URL": "memory://",
        "CACHE_URL": "",
        "EMAIL_URL": "",
        "S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "S3_BUCKET": "exchequer-test",
        "AWS_ACCESS_KEY_ID": "test-access",
        "AWS_SECRET_ACCESS_KEY": "test-secret-key",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TZ": "UTC",
    }
    return session
