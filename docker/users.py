"""Users of the MLflow server and their roles, which access.py tells of.

Speaks to the server at MLFLOW_TRACKING_URI as MLFLOW_TRACKING_USERNAME (an admin) with
MLFLOW_TRACKING_PASSWORD:

    python docker/users.py NAME reader|trainer|registrar
"""

import os
import secrets
import sys

from access import ROLES
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient

WORKSPACE = "default"  # MLflow's only one, unless told otherwise


def set_role(name: str, role: str) -> str:
    """Give somebody this role and no other; a new user gets a password, told here once."""
    client = AuthServiceClient(os.environ["MLFLOW_TRACKING_URI"])
    known = {each.name: each.id for each in client.list_roles(WORKSPACE)}
    for missing in set(ROLES) - known.keys():
        known[missing] = client.create_role(WORKSPACE, missing).id
    password = secrets.token_urlsafe(12)
    try:
        client.create_user(name, password)
        said = f"{name} is a new user, a {role}; the password, shown only now: {password}"
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        said = f"{name} is a {role} now"
    for each in client.list_user_roles(name):
        if each.name in ROLES and each.name != role:
            client.unassign_role(name, each.id)
    if role not in {each.name for each in client.list_user_roles(name)}:
        client.assign_role(name, known[role])
    return said


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in ROLES:
        sys.exit(__doc__)
    print(set_role(*sys.argv[1:]))
