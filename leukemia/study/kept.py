"""What a study's run keeps of its plan: the file, its digest and the trials with their keys."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd

from leukemia.errors import UserError
from leukemia.study.grid import Trial
from leukemia.study.plan import Plan, parsed
from leukemia.text import spreadsheet
from leukemia.tracking import records, runs

PLAN, TRIALS = "plan.yaml", "trials.csv"  # files of a study's run
DIGEST = "plan_digest"  # its tag, where it had a plan


def keep(keys: Mapping[Trial, str], plan: Plan | None) -> None:
    """Keep with the run that is on which trials it has, with their keys, and its plan."""
    rows = [asdict(trial) | {"key": key} for trial, key in keys.items()]
    runs.log_texts({TRIALS: spreadsheet.as_csv(pd.DataFrame(rows))})
    if plan:
        runs.log_texts({PLAN: plan.text})
        mlflow.set_tag(DIGEST, plan.digest)


def first_logged(experiment_id: str, plan: Plan) -> pd.Timestamp:
    """When a study of an experiment first had the plan; now, where none has had it."""
    found = mlflow.MlflowClient().search_runs(
        [experiment_id],
        f"tags.{DIGEST} = '{plan.digest}'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    if not found:
        return pd.Timestamp.now("UTC")
    return pd.Timestamp(found[0].info.start_time, unit="ms", tz="UTC")


def kept(run_id: str) -> tuple[frozenset[str], Plan | None]:
    """The keys of a study's trials, and its plan where it had one.

    Raises:
        UserError: there is no such run, it is no study's, or its plan is not the one it had.
    """
    with TemporaryDirectory() as folder:
        trials = spreadsheet.read(records.download(run_id, TRIALS, Path(folder)), ("key",))
        keys = frozenset(trials["key"])
        digest = mlflow.MlflowClient().get_run(run_id).data.tags.get(DIGEST)
        if digest is None:
            return keys, None
        plan = parsed(records.download(run_id, PLAN, Path(folder)).read_bytes(), PLAN)
    if plan.digest != digest:
        raise UserError(f"study '{run_id}': its {PLAN} is not the one that it began with")
    return keys, plan
