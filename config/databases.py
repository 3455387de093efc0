"""The roles in which processes use the database, and the variables of each."""

from typing import Literal

DatabaseRole = Literal["app", "control", "owner", "operator"]

#: The variable that holds the URL of each role.
DATABASE_URLS: dict[DatabaseRole, str] = {
    "app": "DATABASE_URL",
    "control": "DATABASE_CONTROL_URL",
    "owner": "DATABASE_OWNER_URL",
    "operator": "DATABASE_OPERATOR_URL",
}
#: What the operators' console signs with, in place of SECRET_KEY.
OPERATOR_SECRET_KEY = "EXCHEQUER_OPERATOR_SECRET_KEY"  # noqa: S105 (a name)
#: The variables that hold the console's secret keys, by the names that they have elsewhere.
OPERATOR_SECRETS = {"SECRET_KEY": OPERATOR_SECRET_KEY, "SECRET_KEY_PREVIOUS": f"{OPERATOR_SECRET_KEY}_PREVIOUS"}
