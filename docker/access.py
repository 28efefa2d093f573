"""Who may do what on the MLflow server, and to whose things: RULES, one table.

MLflow asks `authenticate` about every request (`authorization_function` of its basic-auth app),
about those that FastAPI answers as well. A request is known by the handler that the server's own
routing chose for it, never by its path, and is read as deeds, each of which must be allowed. What
is named nowhere here (a new route of another MLflow, all that only FastAPI has) is the admin's.
MLflow's own permissions say MANAGE to everybody (server.sh), so that nothing is decided twice.

Who made a run, a logged model or an experiment is what the log-in said then (owners.py), never what
a request says. What is nobody's (made before that was kept, or moved from SQLite) counts as
another's. A summary, as `rank` and `inflation` make them, stands for many runs and is renewed by
whoever ranks next; it is one from its making on, or never, and never has a model.

    python docker/access.py     prints the table as docs/lab.md has it
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import owners
from flask import Response, after_this_request, g, make_response, request
from owners import ANOTHERS, KIND, OWN, STORE, SUMMARIES, SUMMARY, USER

if TYPE_CHECKING:
    from werkzeug.datastructures import Authorization

READER, TRAINER, REGISTRAR = ROLES = ("reader", "trainer", "registrar")
LOOK, PASSWORD, MAKE, VIEW = "look", "password", "make", "view"
EXPERIMENT, RUN, MODEL = "experiment", "run", "model"
MARK, VERDICT, MAKER, PLACE = "mark", "verdict", "maker", "place"
REGISTRY, REST = "registry", "rest"

Deed = tuple[str, str]  # what is done, and to whose thing ("" where that does not matter)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Who, beside the admin, may do a deed.

    says: the deed in words, for docs/lab.md and for whom it is refused. roles: out of ROLES.
    """

    deed: str
    whose: str = ""
    says: str
    roles: tuple[str, ...] = ()


_TRAINS = (TRAINER, REGISTRAR)
_EXPERIMENT = "rename, tag, delete or restore an experiment (with all the runs in it)"
_RUN = "change a run's name, status, tags, metrics or files; delete or restore it"
_MODEL = "give a run parameters, data sets or models; change a logged model"
RULES = (
    Rule(deed=LOOK, says="see and search everything", roles=ROLES),
    Rule(deed=PASSWORD, says="change one's own password", roles=ROLES),
    Rule(deed=MAKE, says="make an experiment, a run or a logged model", roles=_TRAINS),
    Rule(deed=VIEW, says="save a view of an experiment", roles=_TRAINS),
    Rule(deed=EXPERIMENT, whose=OWN, says=_EXPERIMENT, roles=_TRAINS),
    Rule(deed=EXPERIMENT, whose=ANOTHERS, says=_EXPERIMENT),
    Rule(deed=RUN, whose=OWN, says=_RUN, roles=_TRAINS),
    Rule(deed=RUN, whose=SUMMARY, says=_RUN, roles=_TRAINS),
    Rule(deed=RUN, whose=ANOTHERS, says=_RUN),
    Rule(deed=MODEL, whose=OWN, says=_MODEL, roles=_TRAINS),
    Rule(deed=MODEL, whose=SUMMARY, says=_MODEL),
    Rule(deed=MODEL, whose=ANOTHERS, says=_MODEL),
    Rule(
        deed=MARK,
        says="tag any run `rank`, `best_of_arm` or `mlflow.runColor`, as `rank` does",
        roles=_TRAINS,
    ),
    Rule(
        deed=VERDICT,
        says="write any run's tag `gate` and file `model_card.md`, as `register` does",
        roles=(REGISTRAR,),
    ),
    Rule(
        deed=REGISTRY,
        says="register the model of a run that is there, move the alias `champion`",
        roles=(REGISTRAR,),
    ),
    Rule(deed=MAKER, says="say who made a run (`mlflow.user`) or whether it is a summary"),
    Rule(
        deed=PLACE, says="say where files lie, or are read from, other than where the server does"
    ),
    Rule(deed=REST, says="all else: users, traces, prompts, scorers, gateway, webhooks, jobs, ..."),
)
_ALLOWED = {(rule.deed, rule.whose): rule for rule in RULES}


def refused(roles: set[str], deeds: Iterable[Deed]) -> Rule | None:
    """The rule by which somebody with these roles may not do all of this; None: it is allowed."""
    rules = [_ALLOWED[deed] for deed in sorted(deeds)]
    return next((rule for rule in rules if not roles & set(rule.roles)), None)


def table() -> str:
    """RULES as Markdown."""
    lines = [f"| | whose | {' | '.join(ROLES)} |", "|---|---|---|---|---|"]
    for rule in RULES:
        marks = ("yes" if role in rule.roles else "no" for role in ROLES)
        lines.append(f"| {rule.says} | {rule.whose} | {' | '.join(marks)} |")
    return "\n".join(lines)


def authenticate() -> "Authorization | Response":
    """The request's user, or the answer that refuses it: 401 without log-in, 403 for the role.

    MLflow asks several times about one request, also after it was carried out.
    """
    if "access" not in g:
        g.access = _judged()
    came: Authorization | Response = g.access
    return came


def _judged() -> "Authorization | Response":
    from mlflow.server import auth

    came = auth.authenticate_request_basic_auth()
    if isinstance(came, Response):
        return came
    user = auth.store.get_user(came.username)
    if not user.is_admin:
        roles = {role.name for role in auth.store.list_user_roles(user.id)} & set(ROLES)
        if rule := refused(roles, _deeds(user.id)):
            who = f"{came.username} is {' and '.join(sorted(roles)) or 'without a role'}"
            why = f"{rule.says} ({rule.whose})" if rule.whose else rule.says
            said = f"{who}, which does not allow {request.method} {request.path}: {why}\n"
            return make_response(said, 403)
    if request.endpoint in _MAKING:
        after_this_request(partial(owners.keep, user=user.id, name=user.username))
    return came


# What a request does: its handler, by MLflow's name of it, and what its deeds are

_SAFE = {"GET", "HEAD", "OPTIONS"}
_FETCHING = {"serve_gateway_proxy", "_list_supported_models"}  # ask other servers, with GET too
_LOOKING = {  # asked with POST, and change nothing; MLflow's GraphQL has queries only
    "_batch_get_trace_infos", "_calculate_trace_filter_correlation", "_get_latest_versions",
    "_graphql", "_query_trace_metrics", "_search_evaluation_datasets_handler",
    "_search_experiments", "_search_issues", "_search_logged_models", "_search_runs",
    "_search_traces_v3", "serve_search_datasets",
}  # fmt: skip
_MAKING = {"_create_experiment", "_create_run", "_create_logged_model"}
_REGISTERING = {
    "_create_registered_model", "_update_registered_model", "_rename_registered_model",
    "_delete_registered_model", "_set_registered_model_tag", "_delete_registered_model_tag",
    "_set_registered_model_alias", "_delete_registered_model_alias", "_update_model_version",
    "_transition_stage", "_delete_model_version", "_set_model_version_tag",
    "_delete_model_version_tag",
}  # fmt: skip

GATE = "gate"  # the tag that `register` writes
CARD = "model_card.md"  # and the file
VIEWS = "mlflow.sharedViewState."  # begins the tags of an experiment that are saved views
MARKS = {  # the tags that `rank` writes, and what they may be
    "rank": re.compile(r"\d{1,6}"),
    "best_of_arm": re.compile("true|false"),
    "mlflow.runColor": re.compile("#[0-9a-fA-F]{6}"),
}
# How a request names things, in the path, in the query or anywhere in the body: the ends of names.
RUNS = ("runid", "runids", "runuuid", "runuuids")
MODELS = ("modelid", "modelids")
EXPERIMENTS = ("experimentid", "experimentids")


def _deeds(user: int) -> set[Deed]:
    """What the request would do, a user asking."""
    handler = request.endpoint or ""  # none: no route, or one that only FastAPI has
    if request.method in _SAFE:
        return {(REST if handler in _FETCHING | {""} else LOOK, "")}
    read = _READ.get(handler)
    return read(user) if read else {(REST, "")}


def _make_experiment(user: int) -> set[Deed]:
    return {(PLACE if _named("artifactlocation") else MAKE, "")}


def _make_run(user: int) -> set[Deed]:
    verdict = {(VERDICT, "") for key, _ in _tags(_body().get("tags")) if key == GATE}
    return {_make_in(_named(*EXPERIMENTS))} | verdict


def _make_model(user: int) -> set[Deed]:
    of_runs = {(MODEL, whose) for whose in owners.whose(_named(*RUNS), user)}
    return {_make_in(_named(*EXPERIMENTS))} | of_runs


def _make_in(experiments: set[str]) -> Deed:
    alone = len(experiments) == 1 and owners.is_the_servers(*experiments)
    return (MAKE if alone else PLACE, "")


def _tag_run(user: int) -> set[Deed]:
    body, whose = _body(), _of_one(RUNS, user)
    tags = _tags(body.get("tags") if request.endpoint == "_log_batch" else body)
    deeds = {_tag(key, value, whose) for key, value in tags}
    more = {name for name, value in body.items() if value and not _ends(name, RUNS)}
    if not tags or more - {"key", "value", "tags", "params"}:
        deeds.add((RUN, whose))
    if "params" in more:
        deeds.add((MODEL, whose))
    return deeds | _of_models(user)


def _tag(key: str, value: str, whose: str) -> Deed:
    if key == GATE:
        return (VERDICT, "")
    if key == USER or (key == KIND and (whose == SUMMARY) != (value in SUMMARIES)):
        return (MAKER, "")
    if key in MARKS and MARKS[key].fullmatch(value):
        return (MARK, "")
    return (RUN, whose)


def _change_run(user: int) -> set[Deed]:
    return {(RUN, _of_one(RUNS, user))} | _of_models(user)


def _give_to_run(user: int) -> set[Deed]:
    return {(MODEL, _of_one(RUNS, user))} | _of_models(user)


def _change_model(user: int) -> set[Deed]:
    return {(MODEL, _of_one(MODELS, user))}


def _of_models(user: int) -> set[Deed]:
    """Of the logged models that a request about a run names beside it."""
    return {(MODEL, whose) for whose in owners.whose(_named(*MODELS), user)}


def _change_experiment(user: int) -> set[Deed]:
    tagging = request.endpoint != "_update_experiment"
    if tagging and str(_body().get("key", "")).startswith(VIEWS):
        return {(VIEW, "")}
    return {(EXPERIMENT, _of_one(EXPERIMENTS, user))}


def _change_all_in_it(user: int) -> set[Deed]:
    whose = _of_one(EXPERIMENTS, user)
    if any(owners.has_others(each, user) for each in _named(*EXPERIMENTS)):
        whose = ANOTHERS
    return {(EXPERIMENT, whose)}


def _change_files(user: int) -> set[Deed]:
    """Of a path below the root of all files.

    The handler decodes a path until nothing changes. Nothing that it decodes may be in the part
    that says whose the file is.
    """
    from mlflow.utils.uri import validate_path_is_safe

    path = _path()
    parts = validate_path_is_safe(path).split("/")
    if "multipart" in str(request.endpoint):  # as the store takes it
        parts.append(os.path.basename(str(_body().get("path", ""))))
    end = 4 if parts[1:2] == ["models"] else 3
    it, root = "".join(parts[end - 2 : end - 1]), "/".join(parts[:end])
    if not f"{path}/".startswith(f"{root}/") or owners.place(it) != STORE + root:
        return {(PLACE, "")}
    return _write(it, parts[end:], user)


def _path() -> str:
    """The path of a file, as its handler is given it."""
    # Of what FastAPI answers MLflow shows Flask a request of its own making, whose path is decoded
    # once more than FastAPI's; as it was, that is REQUEST_URI, which is not there otherwise.
    raw: str | None = request.environ.get("REQUEST_URI")
    if raw is not None:
        return raw.partition("/mlflow-artifacts/artifacts/")[2]
    return str((request.view_args or {})["artifact_path"])


def _upload(user: int) -> set[Deed]:
    from mlflow.utils.uri import validate_path_is_safe

    runs = [each for name in ("run_id", "run_uuid") for each in request.args.getlist(name)]
    if len(set(runs)) != 1 or not owners.place(runs[0]).startswith(STORE):
        return {(PLACE, "")}
    name = validate_path_is_safe(request.args.get("path", ""))
    return _write(runs[0], name.split("/"), user)


def _write(it: str, parts: list[str], user: int) -> set[Deed]:
    """Of a file of a run or a logged model. parts: its path below theirs, none for all of it."""
    if {"", ".", ".."} & set(parts) or (not parts and request.method != "DELETE"):
        return {(PLACE, "")}
    (whose,) = owners.whose({it}, user)
    if it.startswith("m-"):
        return {(MODEL, whose)}
    return {(VERDICT, "") if parts[:1] == [CARD] else (RUN, whose)}


def _register_version(user: int) -> set[Deed]:
    """Of a version whose source is a run or a model that is there, with none other named by it."""
    source = re.fullmatch(r"models:/(m-\w+)|runs:/(\w+)(/[^%?#]+)?", str(_body().get("source", "")))
    it = source and (source[1] or source[2])
    if not it or not owners.place(it).startswith(STORE) or SUMMARY in owners.whose({it}, user):
        return {(PLACE, "")}
    fits = _named(*MODELS) <= {it} and _named(*RUNS) <= {owners.source_run(it)}
    return {(REGISTRY if fits else PLACE, "")}


_READ = {
    "_create_experiment": _make_experiment,
    "_create_run": _make_run,
    "_create_logged_model": _make_model,
    **dict.fromkeys(("_set_tag", "_delete_tag", "_log_batch"), _tag_run),
    **dict.fromkeys(("_update_run", "_delete_run", "_restore_run", "_log_metric"), _change_run),
    **dict.fromkeys(("_log_param", "_log_inputs", "_log_outputs", "_log_model"), _give_to_run),
    **dict.fromkeys(
        ("_finalize_logged_model", "_delete_logged_model", "_set_logged_model_tags",
         "_delete_logged_model_tag", "_log_logged_model_params"), _change_model,
    ),
    **dict.fromkeys(
        ("_update_experiment", "_set_experiment_tag", "_delete_experiment_tag"), _change_experiment
    ),
    **dict.fromkeys(("_delete_experiment", "_restore_experiment"), _change_all_in_it),
    **dict.fromkeys(
        ("_upload_artifact", "_delete_artifact_mlflow_artifacts",
         "_create_multipart_upload_artifact", "_complete_multipart_upload_artifact",
         "_abort_multipart_upload_artifact"), _change_files,
    ),
    "serve_upload_artifact": _upload,
    "_create_model_version": _register_version,
    **dict.fromkeys(_LOOKING, lambda user: {(LOOK, "")}),
    **dict.fromkeys(_REGISTERING, lambda user: {(REGISTRY, "")}),
    "update_user_password": lambda user: {(PASSWORD, "")},
}  # fmt: skip


# What a request names


def _body() -> dict[str, Any]:
    """As MLflow's handlers read it."""
    from mlflow.server.handlers import _get_normalized_request_json

    body = _get_normalized_request_json(request)
    return body if isinstance(body, dict) else {}


def _tags(tags: object) -> list[tuple[str, str]]:
    """Keys and values."""
    each = tags if isinstance(tags, list) else [tags] if tags else []
    return [
        (str(tag.get("key", "")), str(tag.get("value", ""))) if isinstance(tag, dict) else ("", "")
        for tag in each
    ]


def _of_one(ends: tuple[str, ...], user: int) -> str:
    """Whose the only thing is that the request names so; who names none or several names
    another's."""
    named = _named(*ends)
    return owners.whose(named, user).pop() if len(named) == 1 else ANOTHERS


def _named(*ends: str) -> set[str]:
    """All that the request gives in fields whose names end so."""
    return {text for name, text in _fields() if text and _ends(name, ends)}


def _ends(name: str, ends: tuple[str, ...]) -> bool:
    """Whether a field is called so: run_id, runId and source_run_id all end in `runid`."""
    return name.lower().replace("_", "").endswith(ends)


def _fields() -> Iterator[tuple[str, str]]:
    """Name and text of every field, in the path, in the query and at any depth of the body."""
    todo: list[dict[str, Any]] = [request.view_args or {}, request.args.to_dict(False), _body()]
    while todo:
        for name, value in todo.pop().items():
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, dict):
                    todo.append(each)
                elif each is not None:
                    yield name, str(each)


if __name__ == "__main__":
    print(table())
