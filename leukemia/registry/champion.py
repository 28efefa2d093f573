"""The champion: a classifier that passed the gate, as a registered model, and how it is used."""

import getpass
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from leukemia.errors import UserError
from leukemia.evaluation.predictions import THRESHOLD
from leukemia.experiment import GOLDEN, SUBJECTS
from leukemia.ranking.rank import BASELINE, Ranking
from leukemia.registry import GAINS, gate, golden
from leukemia.registry.card import Logged, as_description, card
from leukemia.registry.served import DIGEST, digest_of
from leukemia.tracking import INVENTORY, MODEL, records

NAME = "leukemia-classifier"
CHAMPION = "champion"
GATE = "gate"  # tag of a run and of a version: the gate's verdict

if TYPE_CHECKING:  # Keras takes seconds to import, and only `load` needs it
    pass


class Refused(UserError):
    """A classifier did not show what it must before it is registered."""


def register(
    ranking: Ranking, name: str = NAME, waived: str = "", asked: str = GAINS[0]
) -> ModelVersion:
    """Register the leader's classifier (once) with its card and make it the champion.

    The card is the version's description and the run's artifact `model_card.md`. What the gate
    said stands in the run's tag `gate`. asked: of the gain over the baseline, one of GAINS.

    Raises:
        Refused: a rule of `gate` is broken, or the tracking server's user may not register.
        UserError: the run logged no model.
    """
    client = mlflow.MlflowClient()
    run = client.get_run(ranking.leader)
    run_id = run.info.run_id
    uri = _model_of(run)
    digest = digest_of(uri)
    candidate = _candidate(run, ranking)
    reasons, gain = gate.refusals(candidate, asked), candidate.gain
    if not (reasons or digest):  # else nobody could tell later whether its files were changed
        reasons = ["its model's files could not be read from the store; register it again"]
    passed = f"passed, gain={asked}" + (f": {gain} over {BASELINE}" if gain else "")
    verdict = f"refused: {'; '.join(reasons)}"[:5000] if reasons else passed
    with _by_a_registrar():
        client.set_tag(run_id, GATE, verdict)
    if reasons:
        raise Refused(f"{run.info.run_name} is not registered: {'; '.join(reasons)}")
    with _by_a_registrar():
        version = _version_of(client, name, run_id) or _new_version(client, name, run_id)
        text = _card_of(run, waived)
        client.log_text(run_id, text, "model_card.md")
        client.update_model_version(
            name, version.version, as_description(text, f"model_card.md of run {run_id}")
        )
        threshold = run.data.metrics.get("threshold", THRESHOLD)
        tags = _repeated(run) | {
            "waived": waived, "threshold": str(threshold), DIGEST: digest, GATE: passed,
        }  # fmt: skip
        for key, value in tags.items():
            client.set_model_version_tag(name, version.version, key, value)
        move(name, str(version.version), f"leader of {len(ranking.table)} techniques, {passed}")
    return client.get_model_version(name, version.version)


def _candidate(run: Run, ranking: Ranking) -> gate.Candidate:
    """What the gate looks at, fetched from the store."""
    run_id = run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        try:
            inventory = records.download(run_id, INVENTORY, Path(folder))
            expected = json.loads(inventory.read_text())
        except UserError:
            expected = {}
        try:
            file = records.download(run_id, GOLDEN, Path(folder))
            apart: float | str = golden.difference(_model_of(run), file)
        except UserError as error:
            apart = str(error)
    return gate.Candidate(
        arm=run.data.tags["arm"],
        names=gate.names_of(run.data.tags),
        metrics=run.data.metrics,
        expected=expected,
        there=records.contents(run_id),
        difference=apart,
        gain=gate.gain_of(ranking),
    )


# The champion's history


@dataclass(frozen=True, kw_only=True)
class Move:
    """One move of the alias. when: UTC. before, after: versions, "" for none. who: the tracking
    server's user, without log-in the machine's."""

    when: str
    before: str
    after: str
    who: str
    why: str


def champion(name: str) -> str:
    """The version that is champion now, "" if none is."""
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION).version)
    except mlflow.MlflowException:
        return ""


def move(name: str, version: str, why: str) -> Move | None:
    """Make a version the champion and write down who did it, when and why; None if it is."""
    client, before = mlflow.MlflowClient(), champion(name)
    if before == version:
        return None
    with _by_a_registrar():
        client.set_registered_model_alias(name, CHAMPION, version)
    who = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    when = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    made = Move(when=when, before=before, after=version, who=who, why=why)
    client.set_registered_model_tag(name, f"{CHAMPION} {when}", json.dumps(asdict(made)))
    return made


@contextmanager
def _by_a_registrar() -> Iterator[None]:
    try:
        yield
    except mlflow.MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        who = os.environ.get("MLFLOW_TRACKING_USERNAME", "somebody without a name")
        raise Refused(
            f"the tracking server does not let {who} change the registry; ask a registrar"
        ) from error


def history(name: str) -> list[Move]:
    """Every recorded move of the alias, the first one first.

    Raises:
        UserError: there is no such model.
    """
    tags = _registered_model(name).tags
    return [Move(**json.loads(tags[key])) for key in sorted(tags) if key[:9] == f"{CHAMPION} "]


def promote(name: str, version: str, why: str) -> Move | None:
    """Make a version that passed the gate the champion; None if it is already.

    Raises:
        UserError: there is no such version, or it was registered past the gate.
    """
    client = mlflow.MlflowClient()
    _registered_model(name)
    try:
        tags = client.get_model_version(name, version).tags
    except mlflow.MlflowException as error:
        versions = client.search_model_versions(f"name = '{name}'")
        there = ", ".join(sorted((str(each.version) for each in versions), key=int))
        raise UserError(f"{name} has no version {version}: there are {there or 'none'}") from error
    if not tags.get(GATE, "").startswith("passed"):
        raise UserError(
            f"{name} version {version} did not pass the gate: it was registered otherwise than by "
            f"`register`; register its run"
        )
    return move(name, version, why)


def rollback(name: str, why: str) -> Move:
    """Make the version that was champion before the last move the champion again.

    Raises:
        UserError: nothing is known of an earlier champion.
    """
    now = champion(name)
    before = next((each.before for each in reversed(history(name)) if each.after == now), "")
    if not before:
        raise UserError(f"{name}: no champion before version {now or 'none'} is known; promote one")
    made = promote(name, before, why)
    assert made, "the champion before is another version"
    return made


def _registered_model(name: str) -> RegisteredModel:
    try:
        return mlflow.MlflowClient().get_registered_model(name)
    except mlflow.MlflowException as error:
        raise UserError(
            f"there is no registered model '{name}' ({str(error).splitlines()[0]}); register one "
            f"with mlflow run . -e register"
        ) from error


def _repeated(run: Run) -> dict[str, str]:
    """The tags that a version has of its run."""
    names = ("technique", "seed", "fold", "protocol", "data_digest", "simulated_data", "leaks")
    tags = records.tags_with_todays_names(run.data.tags)
    return {name: tags.get(name, "") for name in names}


def _card_of(run: Run, waived: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        subjects = pd.read_csv(
            records.download(run.info.run_id, SUBJECTS, Path(folder)),
            dtype={"subject": str},
        )
    return card(
        Logged(
            run_id=run.info.run_id,
            tags=records.tags_with_todays_names(run.data.tags),
            metrics=run.data.metrics,
            subjects=subjects,
            waived=waived,
        )
    )


def _version_of(client: mlflow.MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    try:
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    except mlflow.MlflowException:
        return None
    return versions[0] if versions else None


def _new_version(client: mlflow.MlflowClient, name: str, run_id: str) -> ModelVersion:
    return mlflow.register_model(_model_of(client.get_run(run_id)), name)


def _model_of(run: Run) -> str:
    """The URI of the model that a run logged.

    Raises:
        UserError: it logged none.
    """
    models = mlflow.MlflowClient().search_logged_models(
        [run.info.experiment_id],
        filter_string=f"source_run_id = '{run.info.run_id}' and name = '{MODEL}'",
    )
    if not models:
        raise UserError(f"run {run.info.run_id} logged no model; train it anew, then register")
    return f"models:/{models[0].model_id}"
