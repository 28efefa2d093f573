"""Finished runs read back from MLflow: as records for the ranking, and their artifacts.

Runs of earlier versions are read as if today's had logged them (RENAMED_TAGS, RENAMED_COLUMNS).
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import FileInfo, ViewType

from leukemia.data.files import write_atomically
from leukemia.errors import UserError
from leukemia.evaluation.predictions import THRESHOLD, Predictions
from leukemia.experiment import PREDICTIONS
from leukemia.text import spreadsheet
from leukemia.text.escape import visible
from leukemia.tracking import INVENTORY

DOWNLOADS = 8  # at once
RENAMED_TAGS = {"synthetic_data": "simulated_data"}  # as earlier versions called them -> now
RENAMED_COLUMNS = {"origin": "cell_id"}  # of the CSV files of predictions


def training_runs(experiment_id: str) -> pd.DataFrame:
    """The finished training runs of an experiment, one row each, as `ranking` reads them.

    Whoever may log to the server wrote their tags: each is one line that can be seen.

    Raises:
        UserError: there are none, or all are of a version that audited nothing.
    """
    runs = _trained(experiment_id)
    if runs.empty:
        raise UserError(
            "no finished training runs in this experiment; train first, for example "
            "mlflow run . -e baseline -P data=PATH"
        )
    runs = runs.rename(columns=lambda name: name.removeprefix("metrics.").removeprefix("tags."))
    runs = with_todays_names(runs.loc[:, ~runs.columns.duplicated()], RENAMED_TAGS)
    runs = runs.map(lambda value: visible(value) if isinstance(value, str) else value)
    missing = {"fold", "folds", "leaks"} - set(runs.columns)
    if missing:
        raise UserError(
            "the training runs of this experiment are of an older version, which audited "
            "nothing: train anew, or give another experiment"
        )
    return runs[runs["leaks"].notna()].astype({"seed": int, "fold": int})


def with_todays_names(table: pd.DataFrame, renamed: Mapping[str, str]) -> pd.DataFrame:
    """The table with columns renamed; a row's value is that of whichever name it has."""
    for former, name in renamed.items():
        if former in table:
            values = table[name].fillna(table[former]) if name in table else table[former]
            table = table.drop(columns=former).assign(**{name: values})
    return table


def tags_with_todays_names(tags: Mapping[str, str]) -> dict[str, str]:
    """A run's tags, those of earlier versions renamed."""
    return {RENAMED_TAGS.get(name, name): value for name, value in tags.items()}


def _trained(experiment_id: str) -> pd.DataFrame:
    """The finished training runs, as MLflow gives them."""
    runs: pd.DataFrame = mlflow.search_runs(
        [experiment_id],
        "tags.kind = 'train' and attributes.status = 'FINISHED'",
        run_view_type=ViewType.ACTIVE_ONLY,
        max_results=50_000,
    )
    return runs


def finished(experiment_id: str) -> dict[str, str]:
    """The key of each finished training run's config -> its run ID (the latest's)."""
    runs = _trained(experiment_id)
    if "tags.key" not in runs:
        return {}
    runs = runs.sort_values("start_time")
    return dict(zip(runs["tags.key"], runs["run_id"], strict=True))


def test_predictions(run_ids: Iterable[str], cache: Path) -> dict[str, Predictions]:
    """The test predictions of each run; kept in `cache`, since a finished run does not change.

    Subjects and cell_id are whole numbers that stand for names, the same number for the same
    name in all of these runs: 1,000 runs of 2,000 cells fit in 60 MB.
    """
    run_ids = list(run_ids)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        paths = list(pool.map(lambda run_id: _test_file(run_id, cache), run_ids))
    subjects, cells = Numbers(), Numbers()
    return {
        run_id: _predictions(path, subjects, cells)
        for run_id, path in zip(run_ids, paths, strict=True)
    }


class Numbers:
    """A whole number for each name, in the order in which names are first seen."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, names: Iterable[str]) -> np.ndarray:
        """(n,) int32."""
        known = self._known
        return np.array([known.setdefault(name, len(known)) for name in names], np.int32)


def _predictions(path: Path, subjects: Numbers, cells: Numbers) -> Predictions:
    """Predictions from their CSV file; without a column `threshold`, cells are called from 0.5."""
    rows = spreadsheet.read(path, ("subjects", "cell_id", *RENAMED_COLUMNS), engine="pyarrow")
    rows = with_todays_names(rows, RENAMED_COLUMNS)
    threshold = rows["threshold"].iloc[0] if "threshold" in rows and len(rows) else THRESHOLD
    return Predictions(
        labels=rows["labels"].to_numpy(np.int8),
        scores=rows["scores"].to_numpy(np.float32),
        subjects=subjects.of(rows["subjects"]),
        cell_id=cells.of(rows["cell_id"]),
        threshold=float(threshold),
    )


def _test_file(run_id: str, cache: Path) -> Path:
    """A local copy of a run's test predictions."""
    kept = cache / PREDICTIONS / run_id / "test.csv"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            file = download(run_id, f"{PREDICTIONS}/test.csv", Path(folder))
            write_atomically(kept, file.read_bytes())
    return kept


def download(run_id: str, artifact: str, folder: Path) -> Path:
    """A run's artifact as a local path.

    Raises:
        UserError: there is no such run or it has no such artifact.
    """
    try:
        path = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=artifact, dst_path=str(folder)
        )
    except Exception as error:
        raise UserError(
            f"run '{run_id}' has no artifact '{artifact}' ({str(error).splitlines()[0]}); give "
            f"the ID of a finished run that made one"
        ) from error
    return Path(path)


def contents(run_id: str) -> dict[str, int]:
    """Path -> bytes of each artifact that the store has of a run, its models' files among them;
    without the inventory, which is made of this."""
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    sizes = _files(lambda folder: client.list_artifacts(run_id, folder or None))
    for model in client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    ):
        inside = _files(partial(client.list_logged_model_artifacts, model.model_id))
        sizes |= {f"models/{model.name}/{path}": size for path, size in inside.items()}
    return {path: size for path, size in sorted(sizes.items()) if path != INVENTORY}


def _files(listing: Callable[[str], list[FileInfo]], folder: str = "") -> dict[str, int]:
    sizes: dict[str, int] = {}
    for each in listing(folder):
        sizes |= _files(listing, each.path) if each.is_dir else {each.path: int(each.file_size)}
    return sizes
