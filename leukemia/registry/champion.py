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

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from leukemia.errors import UserError
from leukemia.evaluation.predictions import THRESHOLD
from leukemia.experiment import GOLDEN, SUBJECTS
from leukemia.ranking.comparisons import BASELINE
from leukemia.ranking.rank import Ranking
from leukemia.registry import GAINS, gate, golden
from leukemia.registry.card import Logged, as_description, card
from leukemia.registry.served import DIGEST, load
from leukemia.text import spreadsheet
from leukemia.tracking import manifest, records
from leukemia.tracking.logged_model import fetched
from leukemia.tracking.manifest import Manifest

NAME = "leukemia-classifier"
CHAMPION = "champion"
GATE = "gate"  # tag of a run and of a version: the gate's verdict


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
    try:
        left = _left_by(run)
        candidate = _candidate(run, left, ranking)
        reasons, gain = gate.refusals(candidate, asked), candidate.gain
        text = _card_of(run, left, waived)
    except UserError as error:
        reasons, gain = [str(error)], None
    passed = f"passed, gain={asked}" + (f": {gain} over {BASELINE}" if gain else "")
    verdict = f"refused: {'; '.join(reasons)}"[:5000] if reasons else passed
    with _by_a_registrar():
        client.set_tag(run_id, GATE, verdict)
    if reasons:
        raise Refused(f"{run.info.run_name} is not registered: {'; '.join(reasons)}")
    with _by_a_registrar():
        version = _version_of(name, left)
        client.log_text(run_id, text, "model_card.md")
        client.update_model_version(
            name, version.version, as_description(text, f"model_card.md of run {run_id}")
        )
        threshold = run.data.metrics.get("threshold", THRESHOLD)
        tags = _repeated(run) | {
            "waived": waived, "threshold": str(threshold), GATE: passed,
            DIGEST: left.model_sha256, manifest.TAG: left.sha256,
        }  # fmt: skip
        for key, value in tags.items():
            client.set_model_version_tag(name, version.version, key, value)
        move(name, str(version.version), f"leader of {len(ranking.table)} techniques, {passed}")
    return client.get_model_version(name, version.version)


def _left_by(run: Run) -> Manifest:
    """What a run left, where all of it is still what it was, and one model alone claims the run.

    Raises:
        UserError: the run was changed, its model is another, or several models claim it.
    """
    left = manifest.of_run(run)
    claiming = sorted(str(each.model_id) for each in records.models_of(run.info.run_id))
    if claiming != [left.model]:
        raise UserError(
            f"{len(claiming)} models claim to be its own ({', '.join(claiming) or 'none'}), where "
            f"it left {left.model} alone; delete those that it did not make"
        )
    with fetched(f"models:/{left.model}") as files:
        if files.digest != left.model_sha256:
            raise UserError("its model is not the one that it ended with")
    return left


def _candidate(run: Run, left: Manifest, ranking: Ranking) -> gate.Candidate:
    """What the gate looks at, fetched from the store."""
    run_id = run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = records.download(run_id, GOLDEN, Path(folder))
            manifest.check(left, GOLDEN, file.read_bytes())
            apart: float | str = golden.difference(f"models:/{left.model}", file)
        except UserError as error:
            apart = str(error)
    return gate.Candidate(
        arm=run.data.tags["arm"],
        names=gate.names_of(run.data.tags),
        metrics=run.data.metrics,
        expected=left.sizes,
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
        UserError: there is no such version, it was registered past the gate, or it cannot be
            loaded as it was registered.
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
    load(f"models:/{name}/{version}").model.close()
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
    names = (
        "technique", "split_seed", "seed", "fold", "protocol", "data_digest", "simulated_data",
        "leaks",
    )  # fmt: skip
    tags = records.tags_with_todays_names(run.data.tags)
    return {name: tags.get(name, "") for name in names}


def _card_of(run: Run, left: Manifest, waived: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = records.download(run.info.run_id, SUBJECTS, Path(folder))
        manifest.check(left, SUBJECTS, file.read_bytes())
        subjects = spreadsheet.read(file, ("subject", "group"))
    return card(
        Logged(
            run_id=run.info.run_id,
            tags=records.tags_with_todays_names(run.data.tags),
            metrics=run.data.metrics,
            subjects=subjects,
            waived=waived,
        )
    )


def _version_of(name: str, left: Manifest) -> ModelVersion:
    """The version of a run's model: the one that is there, or a new one."""
    source = f"models:/{left.model}"
    try:
        versions = mlflow.MlflowClient().search_model_versions(
            f"name = '{name}' and run_id = '{left.run}'"
        )
    except mlflow.MlflowException:  # no model of that name
        versions = []
    mine = [each for each in versions if each.source == source]
    return mine[0] if mine else mlflow.register_model(source, name)
