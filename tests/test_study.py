"""A study ranks, publishes and registers the runs of its own plan; on a real store."""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from filelock import FileLock
from mlflow.entities import Run

from entrypoints import rank, register, study, train
from leukemia.cells import Cells
from leukemia.data.index import open_index
from leukemia.data.options import DataOptions
from leukemia.experiment import provenance
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import resolve
from leukemia.model.classifier import ModelConfig, build
from leukemia.study import kept as kept_plans
from leukemia.study import plan as plans
from leukemia.study import results
from leukemia.tracking import unfinished
from tests.conftest import ROOT, copied_project, write_table

pytestmark = pytest.mark.filterwarnings(
    # Of MLflow's own: its classes of SQLAlchemy, its type hints.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::PendingDeprecationWarning",
    "ignore:.*Any type hint is inferred:UserWarning",
)
TINY = ["--positive", "blast", "--backbone", "miniature", "--crop", "0", "--image-size", "32",
        "--budget", "quick", "--experiment", "seed 0"]  # fmt: skip
EXPERIMENT = ["--experiment", "seed 0"]
GATE = [*EXPERIMENT, "--gain", "any"]
ONE_FOLD = ["--test-folds", "0", "--gain", "any"]
CHAMPION = "leukemia-classifier"


@pytest.fixture(scope="module")
def project(
    trained_once: Path, cells: Cells, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A project in which a baseline was trained on `cells`, and after it another technique on
    other cells of the same people."""
    folder = copied_project(trained_once, tmp_path_factory.mktemp("study") / "project")
    (folder / "others").mkdir()
    write_table(folder / "others", cells.take(np.arange(0, len(cells), 2)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("LEUKEMIA_CACHE", str(folder / "cache"))
        patch.setenv("PYTHONPATH", str(ROOT))
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        later = asked(train, "control", "--data", "others", *TINY)
        assert later[0] == 0, later[1]
        yield folder
        mlflow.set_tracking_uri(None)  # what the environment says, again


@pytest.fixture(autouse=True)
def nothing_registered(project: Path) -> Iterator[None]:
    """Each test begins without a registered model and without rankings."""
    yield
    client = mlflow.MlflowClient()
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    for kind in ("study", "summary"):
        for run in find(f"tags.kind = '{kind}'"):
            client.delete_run(run.info.run_id)


def asked(entry: Any, *words: str) -> tuple[int, str]:
    """Exit code and output of a command in this process; a study trains in others."""
    done = CliRunner().invoke(entry.main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def studied(techniques: str, *more: str, data: str = "cells") -> tuple[int, str]:
    words = ["--data", data, "--techniques", techniques, "--seeds", "0", *ONE_FOLD, *TINY, *more]
    return asked(study, *words)


def find(search: str) -> list[Run]:
    experiment = mlflow.get_experiment_by_name("seed 0")
    return list(mlflow.MlflowClient().search_runs([experiment.experiment_id], search))


def registered() -> list[str]:
    """The IDs of the runs whose model is registered."""
    versions = mlflow.MlflowClient().search_model_versions(f"name = '{CHAMPION}'")
    return [str(version.run_id) for version in versions]


def key_of(data: Path, technique: str, seed: int) -> str:
    options = ExperimentOptions(
        data=data, positive="blast", technique=technique, seed=seed, budget="quick", image_size=32,
        crop=0, backbone="miniature",
    )  # fmt: skip
    return resolve(options).key(open_index(data, DataOptions(positive="blast")))


def occupied(project: Path, key: str) -> FileLock:
    """The place of a run, as another process that trains it holds it."""
    experiment = mlflow.get_experiment_by_name("seed 0").experiment_id
    place = unfinished.folder(project / "cache", experiment, key)
    place.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(place.with_suffix(".lock"))


@pytest.fixture
def own(project: Path) -> Run:
    """The baseline that was trained first, on the study's cells."""
    return min(find("tags.kind = 'train'"), key=lambda run: run.info.start_time)


def test_a_study_ranks_and_registers_its_own_runs_whatever_was_trained_later(
    own: Run,
) -> None:
    code, said = studied("baseline")
    assert code == 0, said
    assert "1 of 1 runs are there already" in said
    assert f"Cells: {own.data.tags['cells']}." in said
    assert "Ranked: 1 run of baseline on terms=" in said
    assert f"data {own.data.tags['data_digest']}, code {own.data.tags['code'][:8]}" in said
    assert registered() == [own.info.run_id]
    assert [run.data.tags["arm"] for run in find("tags.kind = 'summary'")] == ["baseline"]
    (of_study,) = find("tags.kind = 'study'")
    code, said = asked(register, "--study", of_study.info.run_id, *GATE)
    assert code == 0, said
    assert f"run {own.info.run_id}" in said
    code, said = asked(rank, "--study", own.info.run_id, *EXPERIMENT)
    assert code == 1
    assert "has no artifact 'trials.csv'" in said


def test_a_mixture_is_refused_until_one_set_of_terms_is_named(own: Run) -> None:
    code, said = asked(rank, *EXPERIMENT)
    assert code == 1
    *choices, error = said.strip().splitlines()
    assert error.startswith("Error: 2 finished runs are of 2 different terms, which cannot be")
    assert [line.split()[1:4] for line in choices] == [["1", "run", "of"]] * 2
    assert "control, the latest of " in choices[0]
    assert f"data_digest {own.data.tags['data_digest']}" in choices[1]
    assert asked(register, *GATE)[0] == 1
    assert registered() == []
    named = choices[1].split()[0].removeprefix("terms=")
    code, said = asked(rank, "--terms", named[:4], *EXPERIMENT)
    assert code == 0
    assert f"Ranked: 1 run of baseline on terms={named}" in said
    assert "1 runs on other terms, of other plans or of repeated seeds are left out." in said
    assert asked(register, "--terms", named, *GATE)[0] == 0
    assert registered() == [own.info.run_id]


def test_a_study_whose_only_technique_failed_ranks_and_registers_nothing(project: Path) -> None:
    with occupied(project, key_of(project / "cells", "weighted", 0)):
        code, said = studied("weighted")
    assert code == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("Error: none of 1 runs went well, so nothing is ranked; weighted, subj")
    assert "is being trained by another process" in last
    assert "rank  technique" not in said
    assert registered() == []
    assert find("tags.kind = 'summary'") == []
    (failed,) = find("tags.kind = 'study'")
    assert failed.info.status == "FAILED"


def test_what_failed_is_named_and_the_rest_of_the_plan_is_ranked(project: Path, own: Run) -> None:
    with occupied(project, key_of(project / "cells", "weighted", 0)):
        code, said = studied("baseline,weighted")
    assert code == 1
    named = "NOT RANKED: 1 of 2 runs failed: weighted, subject, seed 0, fold 0: the very same run"
    assert f"Note: {named}" in said
    assert said.strip().splitlines()[-1].startswith(f"Error: {named}")
    (failed,) = find("tags.kind = 'study'")
    assert failed.info.status == "FAILED"
    assert "Ranked: 1 run of baseline on terms=" in said
    assert registered() == [own.info.run_id]


def test_a_training_that_diverges_fails_in_a_line_and_nothing_is_ranked(project: Path) -> None:
    model = build(ModelConfig(backbone="miniature", weights="none", size=32), 9).model
    backbone = model.get_layer("backbone")
    backbone.set_weights([np.full_like(each, np.nan) for each in backbone.get_weights()])
    backbone.save_weights(project / "nan.weights.h5")
    code, said = studied("baseline", "--backbone-weights", "nan.weights.h5")
    assert code == 1
    *_, last = said.strip().splitlines()
    assert last.startswith("Error: none of 1 runs went well, so nothing is ranked; baseline, subj")
    assert re.search("baseline: training loss is (nan|inf) in epoch .: .* a lower learning", last)
    assert find("tags.kind = 'summary'") == []
    (failed,) = find("tags.kind = 'train' and attributes.status = 'FAILED'")
    assert "use a lower learning rate" in failed.data.tags["error"]


def test_a_study_of_no_runs_is_refused(project: Path) -> None:
    words = ["--data", "cells", "--techniques", "baseline", *TINY]
    code, said = asked(study, "--test-folds", "9", *words)
    assert code == 1
    assert said.strip().splitlines()[-1] == (
        "Error: there is no fold 9 to test on: protocol subject has 0 to 4"
    )
    code, said = asked(study, "--seeds", "all", *words)
    assert code == 1
    assert "there is nothing to train: give seeds, folds and techniques" in said
    assert registered() == []


def test_a_plan_is_written_before_and_the_ranking_says_whether_it_came_so(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = studied("baseline,weighted", "--write-plan", "plan.yaml", "--metric", "wf1")
    assert code == 0, said
    assert find("tags.kind = 'study'") == []
    values = yaml.safe_load((project / "plan.yaml").read_text())
    assert values["contrast"] == ["weighted", "baseline"]
    assert (values["metric"], values["seeds"], values["test_folds"]) == ("wf1", [0], [0])
    assert (values["budget"], values["image_size"], values["scaling"]) == ("quick", 32, "imagenet")
    code, said = studied("baseline,weighted", "--write-plan", "plan.yaml")
    assert code == 1
    assert "plan.yaml is there already: name another file, or remove it" in said

    # What is left at its default follows the plan: seeds, folds, metric, techniques.
    follow = ["--data", "cells", "--plan", "plan.yaml", "--gain", "any", *TINY]
    code, said = asked(study, *follow)
    assert code == 0, said
    digest = sha256((project / "plan.yaml").read_bytes()).hexdigest()
    # The baseline was there before the plan: the contrast is no better than the others.
    assert (
        f"Note: as planned (plan {digest[:12]}); the planned contrast is weighted against "
        f"baseline, which is one comparison among others: 1 of 2 runs are older than the plan."
    ) in said
    assert "Ordered by validation wf1" in said
    (run,) = find("tags.kind = 'study'")
    assert run.data.tags["plan_digest"] == digest
    _, kept = kept_plans.kept(run.info.run_id)
    assert kept == plans.read(project / "plan.yaml")
    code, said = asked(rank, "--study", run.info.run_id, *EXPERIMENT)
    assert code == 0
    assert f"NOT as planned (plan {digest[:12]}): ordered by auroc instead of wf1." in said

    with monkeypatch.context() as patch:
        patch.setattr(results, "first_logged", lambda *of: pd.Timestamp("2026-01-01", tz="UTC"))
        code, said = asked(rank, "--study", run.info.run_id, "--metric", "wf1", *EXPERIMENT)
    assert code == 0
    assert "weighted against baseline, which has 0.04 of the level of 0.05 for itself." in said

    # What is asked for otherwise is done and named.
    code, said = asked(study, *follow, "--techniques", "baseline")
    assert code == 0, said
    assert f"NOT as planned (plan {digest[:12]}): no run of weighted." in said


def test_a_plan_of_other_cells_is_named(project: Path) -> None:
    code, said = studied("baseline,weighted", "--write-plan", "others.yaml", data="others")
    assert code == 0, said
    code, said = studied("baseline", "--plan", "others.yaml")
    assert code == 0, said
    assert "no run of weighted; data_digest " in said


@pytest.mark.parametrize("more", [["--contrast", "a,b"], ["--plan", "gone.yaml"]])
def test_a_plan_that_cannot_be_followed_is_one_line(project: Path, more: list[str]) -> None:
    code, said = studied("baseline", *more)
    assert code == 1
    assert len(said.strip().splitlines()) == 1
    assert find("tags.kind = 'study'") == []


def test_a_run_of_other_code_is_no_run_of_the_study(own: Run) -> None:
    client = mlflow.MlflowClient()
    client.set_tag(own.info.run_id, "key", "of other code")
    code, said = studied("baseline")
    assert code == 0, said
    (new,) = registered()
    assert new != own.info.run_id
    client.set_tag(own.info.run_id, "key", own.data.tags["key"])
    client.delete_run(new)


def test_code_that_was_changed_while_the_study_ran_is_told(
    own: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "code_digest", lambda: "read before the change")
    code, said = studied("baseline")
    assert code == 1
    assert said.strip().splitlines()[-1] == (
        "Error: none of 1 runs went well, so nothing is ranked; baseline, subject, seed 0, fold 0: "
        "its run is of other code than the study began with; give the command again"
    )
    assert registered() == []
    finished = find("tags.technique = 'baseline' and attributes.status = 'FINISHED'")
    (new,) = (run for run in finished if run.info.run_id != own.info.run_id)
    mlflow.MlflowClient().delete_run(new.info.run_id)
