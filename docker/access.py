"""Who may do what on the MLflow server, by three roles that a lab uses.

    reader     sees everything and changes nothing
    trainer    also makes and changes experiments, runs and what they log
    registrar  also registers models and moves the alias `champion`

The admin alone makes users and does all the rest. MLflow asks `authenticate` about every request
(`authorization_function` of its basic-auth app) and then applies its own permissions: with
default_permission EDIT only who made an experiment, or the admin, may delete it. What changes
something and is not named below is the admin's.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug.datastructures import Authorization
    from werkzeug.wrappers import Response

SAFE = {"GET", "HEAD", "OPTIONS"}
API = re.compile(r"/(?:ajax-)?api/\d\.\d/?(.*)")
# What is asked with POST and changes nothing.
ASKED = re.compile(
    r"mlflow/(?:(?:experiments|runs|logged-models|datasets|traces|issues)/search"
    r"|experiments/search-datasets|registered-models/get-latest-versions"
    r"|traces/(?:batchGetInfos|metrics|calculate-filter-correlation))"
)
OWN = re.compile(r"mlflow/users/update-password")  # MLflow lets only one's own be changed
LOGS = re.compile(
    r"mlflow/(?:experiments|runs|logged-models|datasets)(?:/.*)?|mlflow/upload-artifact"
    r"|mlflow/artifacts/presigned-.*|mlflow-artifacts/.*"
)
REGISTERS = re.compile(r"mlflow/(?:registered-models|model-versions)/.*")
ROLES = {
    "reader": (ASKED, OWN),
    "trainer": (ASKED, OWN, LOGS),
    "registrar": (ASKED, OWN, LOGS, REGISTERS),
}


def may(roles: set[str], method: str, path: str) -> bool:
    """Whether somebody with these roles may send such a request."""
    mine = [pattern for role in roles & set(ROLES) for pattern in ROLES[role]]
    if not mine:
        return False
    if method in SAFE or path == "/graphql":  # MLflow's GraphQL has queries only
        return True
    found = API.fullmatch(path)
    return bool(found and any(pattern.fullmatch(found[1]) for pattern in mine))


def authenticate() -> "Authorization | Response":
    """The request's user, or the answer that refuses it: 401 without log-in, 403 for the role."""
    from flask import Response, make_response, request
    from mlflow.server import auth

    came = auth.authenticate_request_basic_auth()
    if isinstance(came, Response):
        return came
    user = auth.store.get_user(came.username)
    roles = {role.name for role in auth.store.list_user_roles(user.id)} & set(ROLES)
    if user.is_admin or may(roles, request.method, request.path):
        return came
    who = f"{came.username} is {' and '.join(sorted(roles)) or 'without a role'}"
    return make_response(f"{who}, which does not allow {request.method} {request.path}\n", 403)
