"""Finished runs read back from MLflow: as records for the ranking, and their artifacts.

Runs of earlier versions are read as if today's had logged them (RENAMED_TAGS, RENAMED_COLUMNS).
"""

import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import FileInfo, LoggedModel, ViewType

from leukemia.data.files import write_atomically
from leukemia.errors import UserError
from leukemia.evaluation.evaluate import SHORT
from leukemia.evaluation.metrics import metrics
from leukemia.evaluation.predictions import THRESHOLD, Predictions
from leukemia.experiment import PREDICTIONS
from leukemia.ranking.networks import Network
from leukemia.text import spreadsheet
from leukemia.text.escape import visible
from leukemia.tracking import MANIFEST, manifest

DOWNLOADS = 8  # at once
SAME = 1e-5  # the most that a figure may differ where it is computed again
LOOKED_AT, NAMED = 100, 5  # other experiments, where one holds no run
RENAMED_TAGS = {"synthetic_data": "simulated_data"}  # as earlier versions called them -> now
SPLIT_SEED = "split_seed"  # in runs of earlier versions that of all else, `seed`
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
            f"no finished training runs in this experiment{_elsewhere(experiment_id)}; train "
            f"first, for example mlflow run . -e baseline -P data=PATH"
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
    runs = runs[runs["leaks"].notna()]
    of_split = runs[SPLIT_SEED].fillna(runs["seed"]) if SPLIT_SEED in runs else runs["seed"]
    return runs.assign(**{SPLIT_SEED: of_split}).astype({SPLIT_SEED: int, "seed": int, "fold": int})


def _elsewhere(experiment_id: str) -> str:
    """Which other experiments hold training runs, such as the Default of an `mlflow run` without
    the name of one; "" for none."""
    client = mlflow.MlflowClient()
    names = [
        visible(each.name)
        for each in client.search_experiments(max_results=LOOKED_AT)
        if each.experiment_id != experiment_id
        and client.search_runs([each.experiment_id], "tags.kind = 'train'", max_results=1)
    ]
    named = ", ".join(f"--experiment {shlex.quote(name)}" for name in names[:NAMED])
    return f" (there are some in others: {named})" if names else ""


def with_todays_names(table: pd.DataFrame, renamed: Mapping[str, str]) -> pd.DataFrame:
    """The table with columns renamed; a row's value is that of whichever name it has."""
    for former, name in renamed.items():
        if former in table:
            values = table[name].fillna(table[former]) if name in table else table[former]
            table = table.drop(columns=former).assign(**{name: values})
    return table


def tags_with_todays_names(tags: Mapping[str, str]) -> dict[str, str]:
    """A run's tags, those of earlier versions renamed and completed."""
    named = {RENAMED_TAGS.get(name, name): value for name, value in tags.items()}
    return {SPLIT_SEED: named["seed"], **named} if "seed" in named else named


def _trained(experiment_id: str) -> pd.DataFrame:
    """The finished training runs, as MLflow gives them.

    A run whose results are not all in the store is not finished, whatever its status says: MLflow
    gives that itself where a process ends without a word.
    """
    runs: pd.DataFrame = mlflow.search_runs(
        [experiment_id],
        "tags.kind = 'train' and attributes.status = 'FINISHED'",
        run_view_type=ViewType.ACTIVE_ONLY,
        max_results=50_000,
    )
    tag = f"tags.{manifest.TAG}"
    return runs[runs[tag] != manifest.PENDING] if tag in runs else runs


def finished(experiment_id: str) -> dict[str, str]:
    """The key of each finished training run's config -> its run ID (the latest's)."""
    runs = _trained(experiment_id)
    if "tags.key" not in runs:
        return {}
    runs = runs.sort_values("start_time")
    return dict(zip(runs["tags.key"], runs["run_id"], strict=True))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """networks: run ID -> its validation and test predictions. broken: run ID -> why its figures
    are not to be believed. bound: IDs of the runs that have a manifest, as all have since there
    is one."""

    networks: Mapping[str, Network]
    broken: Mapping[str, str]
    bound: Set[str]


def checked(run_ids: Iterable[str], cache: Path) -> Checked:
    """The validation and test predictions of runs whose figures of both are those of their
    predictions and, where they have a manifest, are what they ended with.

    Predictions are kept in `cache`, since a finished run does not change.
    Subjects and cell_id are whole numbers that stand for names, the same number for the same
    name in all of these runs: 1,000 runs of 2,000 cells fit in 60 MB.
    """
    run_ids = list(run_ids)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        left = dict(
            zip(run_ids, pool.map(lambda each: _left_by(each, cache), run_ids), strict=True)
        )
    subjects, cells = Numbers(), Numbers()
    networks, broken = {}, {}
    for run_id, files in left.items():
        if isinstance(files, str):
            broken[run_id] = files
            continue
        read = {split: _predictions(path, subjects, cells) for split, path in files.paths.items()}
        wrong = _otherwise(files.metrics, read)
        if wrong:
            broken[run_id] = wrong
        else:
            networks[run_id] = Network(validation=read["validation"], test=read["test"])
    bound = {run_id for run_id, files in left.items() if isinstance(files, str) or files.bound}
    return Checked(networks=networks, broken=broken, bound=bound)


@dataclass(frozen=True, kw_only=True)
class _Left:
    """paths: split -> local copy of its predictions. bound: the run has a manifest."""

    paths: Mapping[str, Path]
    metrics: Mapping[str, float]
    bound: bool


def _left_by(run_id: str, cache: Path) -> _Left | str:
    """What a run left of its predictions, or why that is not to be believed."""
    run = mlflow.MlflowClient().get_run(run_id)
    bound = manifest.TAG in run.data.tags
    try:
        whole = manifest.of_run(run) if bound else None
        paths = {}
        for split in ("validation", "test"):
            path = f"{PREDICTIONS}/{split}.csv"
            paths[split] = _kept(run_id, path, cache)
            if whole and manifest.differs(whole, path, paths[split].read_bytes()):
                paths[split].unlink()  # the copy here may be what was damaged
                paths[split] = _kept(run_id, path, cache)
                manifest.check(whole, path, paths[split].read_bytes())
    except UserError as error:
        return str(error)
    return _Left(paths=paths, metrics=run.data.metrics, bound=bound)


def _otherwise(logged: Mapping[str, float], read: Mapping[str, Predictions]) -> str:
    """Which figure is not that of the predictions, in a line; "" where all are."""
    for split, cells in read.items():
        if not len(cells):
            return f"it has no {split} predictions"
        wrong = int(np.sum(~np.isfinite(cells.scores)))
        if wrong:
            return f"{wrong} of its {len(cells)} {split} scores are not finite"
        if not np.isfinite(cells.threshold):
            return f"its threshold is {cells.threshold}"
        for name, value in metrics(cells.labels, cells.scores, cells.threshold).items():
            told = logged.get(f"{SHORT[split]}_{name}")
            if told is not None and not abs(told - value) <= SAME:
                return (
                    f"its {SHORT[split]}_{name} is {told:.4f}, that of its predictions {value:.4f}"
                )
    return ""


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
    threshold = _numbers(rows["threshold"])[0] if "threshold" in rows and len(rows) else THRESHOLD
    return Predictions(
        labels=rows["labels"].to_numpy(np.int8),
        scores=_numbers(rows["scores"]).astype(np.float32),
        subjects=subjects.of(rows["subjects"]),
        cell_id=cells.of(rows["cell_id"]),
        threshold=float(threshold),
    )


def _numbers(column: pd.Series) -> np.ndarray:
    """(n,) float64: NaN for what is none, such as the empty text that stands for NaN in a file."""
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64)


def _kept(run_id: str, artifact: str, cache: Path) -> Path:
    """A local copy of a run's file."""
    kept = cache / PREDICTIONS / run_id / Path(artifact).name
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            file = download(run_id, artifact, Path(folder))
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
    without the manifest, which is made of this."""
    client = mlflow.MlflowClient()
    sizes = _files(lambda folder: client.list_artifacts(run_id, folder or None))
    for model in models_of(run_id):
        inside = _files(partial(client.list_logged_model_artifacts, model.model_id))
        sizes |= {f"models/{model.name}/{path}": size for path, size in inside.items()}
    return {path: size for path, size in sorted(sizes.items()) if path != MANIFEST}


def models_of(run_id: str) -> list[LoggedModel]:
    """Every model that claims to be of a run."""
    client = mlflow.MlflowClient()
    experiment_id = client.get_run(run_id).info.experiment_id
    return list(
        client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    )


def _files(listing: Callable[[str], list[FileInfo]], folder: str = "") -> dict[str, int]:
    sizes: dict[str, int] = {}
    for each in listing(folder):
        sizes |= _files(listing, each.path) if each.is_dir else {each.path: int(each.file_size)}
    return sizes
