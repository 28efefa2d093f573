"""Who made which run, logged model and experiment of the MLflow server, and where files lie.

One table, `lab_owners`, beside MLflow's own in its database. Only the server writes it: a row when
something was made, by the ID of the user who had logged in (a user of the same name later is
another). What has no row is nobody's. Asked within a request to the server.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import sqlalchemy
from flask import Response

OWN, ANOTHERS, SUMMARY = "one's own", "another's", "a summary"
KIND, USER = "kind", "mlflow.user"  # tags
SUMMARIES = ("summary", "former summary", "protocol summary")  # as `kind`
STORE = "mlflow-artifacts:/"  # the server's own place for files

_MAKE_TABLE = """
create table if not exists lab_owners (
    object varchar(50) primary key, maker integer, summary boolean not null)"""
# Summaries of before, which a run with a model is not, are renewed by whoever ranks next.
_TAKE_SUMMARIES = """
insert into lab_owners select run_uuid, null::integer, true from tags
where key = :kind and value in :summaries
and not exists (select 1 from logged_models where source_run_id = run_uuid)
on conflict do nothing"""
_KEEP = "insert into lab_owners values (:object, :maker, :summary) on conflict do nothing"
_NAME_MAKER = (
    "update runs set user_id = :name where run_uuid = :object",
    "insert into tags (key, value, run_uuid) values (:tag, :name, :object) "
    "on conflict (key, run_uuid) do update set value = excluded.value",
)
_OWNERS = "select maker = :user, summary from lab_owners where object = :object"
_PLACE = """
select artifact_uri, run_uuid from runs where run_uuid = :object
union all select artifact_location, source_run_id from logged_models where model_id = :object"""
_LOCATION = "select artifact_location from experiments where experiment_id::text = :object"
_OTHERS_IN = """
select 1 from (select run_uuid as object from runs where experiment_id::text = :object
             union all select model_id from logged_models where experiment_id::text = :object) made
left join lab_owners using (object) where maker is distinct from :user limit 1"""


def whose(objects: Iterable[str], user: int) -> set[str]:
    """Whose these are to a user, by their IDs: some of OWN, ANOTHERS and SUMMARY."""
    return {_whose(each, user) for each in objects}


def _whose(object: str, user: int) -> str:
    rows = _asked(_OWNERS, object=object, user=user)
    if not rows:
        return ANOTHERS
    own, summary = rows[0]
    return SUMMARY if summary else OWN if own else ANOTHERS


def place(object: str) -> str:
    """Where the files of a run or logged model lie, "" where there is none."""
    return str(rows[0][0]) if (rows := _asked(_PLACE, object=object)) else ""


def source_run(object: str) -> str:
    """The run itself, or that of a logged model; "" for none."""
    return str(rows[0][1] or "") if (rows := _asked(_PLACE, object=object)) else ""


def is_the_servers(experiment: str) -> bool:
    """Whether there is such an experiment and its files lie where the server puts them."""
    return [tuple(row) for row in _asked(_LOCATION, object=experiment)] == [(STORE + experiment,)]


def has_others(experiment: str, user: int) -> bool:
    """Whether an experiment has a run or a logged model that somebody else made, or nobody."""
    return bool(_asked(_OTHERS_IN, object=experiment, user=user))


def keep(answer: Response, user: int, name: str) -> Response:
    """Write down who made what this answer tells of; of a run, also in the run."""
    if answer.status_code == 200:
        made = answer.get_json()
        run = made.get("run")
        object = _id_of(made)
        tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])} if run else {}
        row = {"object": object, "maker": user, "summary": tags.get(KIND) in SUMMARIES}
        with _engine().begin() as connection:
            connection.execute(sqlalchemy.text(_KEEP), row)
            for query in _NAME_MAKER if run else ():
                values = {"object": object, "name": name, "tag": USER}
                connection.execute(sqlalchemy.text(query), values)
    return answer


def _id_of(made: dict[str, Any]) -> str:
    """The ID in MLflow's answer to the making of a run, a logged model or an experiment."""
    if run := made.get("run"):
        return str(run["info"]["run_id"])
    if model := made.get("model"):
        return str(model["info"]["model_id"])
    return str(made["experiment_id"])


def _asked(query: str, **values: object) -> list[Any]:
    with _engine().connect() as connection:
        return list(connection.execute(sqlalchemy.text(query), values))


@cache
def _engine() -> sqlalchemy.Engine:
    """MLflow's own connections."""
    from mlflow.server import auth

    engine: sqlalchemy.Engine = auth.store.engine
    prepare(engine)
    return engine


def prepare(engine: sqlalchemy.Engine) -> None:
    """Make the table where it is not there, and take summaries that are nobody's into it."""
    summaries = sqlalchemy.bindparam("summaries", SUMMARIES, expanding=True)
    taking = sqlalchemy.text(_TAKE_SUMMARIES).bindparams(summaries, kind=KIND)
    with engine.begin() as connection:  # of several processes one after another
        connection.execute(sqlalchemy.text("select pg_advisory_xact_lock(hashtext('lab_owners'))"))
        connection.execute(sqlalchemy.text(_MAKE_TABLE))
        connection.execute(taking)
