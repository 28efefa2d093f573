"""A run shows its cells by class: counts before and after balancing, raw and kept examples; and the
thesis' protocol on its own test set, from a tree to an outcome."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from entrypoints import inflation
from leukemia.cells import Cells
from leukemia.contract import TrainingSet
from leukemia.data import sample
from leukemia.data.geometry import Geometry
from leukemia.data.trees import FolderTree
from leukemia.experiment import CLASSES, artifacts, class_plots, plots
from leukemia.experiment.config import Experiment
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import prepare
from leukemia.experiment.run import Outcome, run
from leukemia.splits import THESIS_PRELIMINARY
from leukemia.tracking import MANIFEST
from tests.conftest import ROOT

EDGE = (slice(None, 2), slice(-2, None))
Ran = tuple[Experiment, Outcome, Cells]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C-NMC tree of 144 drawn cells, 38 of them preliminary."""
    return sample.draw_sample(tmp_path_factory.mktemp("tree"), seed=3, cells=144)


def ran(tree: Path, technique: str, protocol: str) -> Ran:
    options = ExperimentOptions(
        data=tree, technique=technique, protocol=protocol, folds=3, budget="quick", image_size=32,
        backbone="miniature", backbone_weights="none", precision="float32",
    )  # fmt: skip
    experiment, cells = prepare(options, tree / "cache")
    return experiment, run(experiment, cells), cells


@pytest.fixture(scope="module")
def pooled(tree: Path) -> Ran:
    return ran(tree, "adasyn", THESIS_PRELIMINARY)


@pytest.fixture(scope="module")
def weighted(tree: Path) -> Ran:
    return ran(tree, "weighted", "subject")


def counts_of(made: Ran) -> Any:  # what .loc gives is of many types
    return class_plots.class_counts(made[0], made[1].training_set).set_index(["split", "class"])


def test_the_thesis_own_test_set_is_tested_and_nothing_made_from_it(pooled: Ran) -> None:
    experiment, outcome, _ = pooled
    of_source = experiment.index.frame["split"].to_numpy(str)
    tested = experiment.split.rows["test"]
    assert set(of_source[tested]) == {"preliminary"}
    assert outcome.predictions["test"].cell_id.tolist() == [
        experiment.index.frame["path"].iloc[row] for row in tested
    ]
    assert outcome.training_set.synthetic.any()
    assert outcome.thesis["thesis_test_acc"] == pytest.approx(
        outcome.evaluation.metrics["test_acc"]
    )
    assert experiment.config.model.scaling == "unit"  # as under `thesis`
    leaks = [(each.kind, {*each.splits}) for each in outcome.audit.blocking]
    assert ("synthetic", {"train", "validation"}) in leaks
    assert ("subject", {"train", "validation"}) in leaks
    assert not any("test" in splits for kind, splits in leaks if kind in ("subject", "synthetic"))


def test_counts_are_those_of_the_cells_before_and_after_balancing(pooled: Ran) -> None:
    experiment, outcome, _ = pooled
    counts, trained = counts_of(pooled), outcome.training_set
    for split, rows in experiment.split.rows.items():
        labels = experiment.index.frame["label"].iloc[rows]
        assert counts.loc[split, "before"].to_dict() == labels.value_counts().to_dict()
    after = pd.Series(np.where(trained.cells.labels == 1, "all", "hem")).value_counts()
    assert counts.loc["train", "after"].to_dict() == after.to_dict()
    assert counts.loc[("train", "hem"), "synthetic"] == trained.synthetic.sum() > 0
    assert counts.loc[("train", "all"), "synthetic"] == 0
    assert (counts.loc[["validation", "test"], "synthetic"] == 0).all()
    assert counts.loc["test", "weight"].sum() == pytest.approx(1)


def test_weights_count_where_cells_are_weighed(weighted: Ran) -> None:
    train = counts_of(weighted).loc["train"]
    assert (train["before"] == train["after"]).all()
    assert train["before"].nunique() == 2
    assert train["weight"].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


def test_cells_that_are_left_out_are_counted(weighted: Ran) -> None:
    experiment, _, cells = weighted
    train = cells.take(experiment.split.rows["train"])
    kept = np.sort(np.concatenate([np.flatnonzero(train.labels == each)[:5] for each in (0, 1)]))
    fewer = TrainingSet(cells=train.take(kept), synthetic=np.zeros(10, bool))
    counts = class_plots.class_counts(experiment, fewer).query("split == 'train'")
    assert (counts["after"] == 5).all()
    assert (counts["left_out"] == counts["before"] - 5).all()


def test_a_run_leaves_its_class_counts_and_both_pictures(pooled: Ran, tmp_path: Path) -> None:
    experiment, outcome, cells = pooled
    artifacts.write(tmp_path, experiment, outcome, cells, plots.draw(experiment, outcome, cells))
    written = pd.read_csv(tmp_path / CLASSES)
    assert list(written) == class_plots.COLUMNS
    assert written["after"].tolist() == counts_of(pooled)["after"].tolist()
    for name in ("class_distribution", "raw_and_cropped"):
        picture = np.asarray(Image.open(tmp_path / "plots" / f"{name}.png"))
        assert 0.75 < picture.shape[0] / picture.shape[1] < 1.34  # MLflow's cards are square
        for edge in EDGE:
            assert (picture[edge] == 255).all()
            assert (picture[:, edge] == 255).all()


def test_examples_are_of_training_cells_of_different_subjects_raw_and_kept(pooled: Ran) -> None:
    experiment, _, cells = pooled
    index, train = experiment.index, experiment.split.rows["train"]
    for label, of_class in enumerate(class_plots.examples(experiment, cells)):
        assert len(of_class) == class_plots.EXAMPLES
        rows = [
            next(row for row in train if (cells.images[row] == each.cropped).all())
            for each in of_class
        ]
        assert set(index.labels[rows]) == {label}
        assert len(set(cells.subjects[rows])) == class_plots.EXAMPLES
        for row, each in zip(rows, of_class, strict=True):
            with Image.open(index.paths[row]) as image:
                assert each.raw is not None
                np.testing.assert_array_equal(each.raw, np.asarray(image))
            assert each.raw.shape == (450, 450, 3)
            kept = experiment.config.geometry.apply(Image.fromarray(each.raw))
            np.testing.assert_array_equal(kept, each.cropped)


def test_the_kept_window_is_drawn_on_the_raw_image(pooled: Ran) -> None:
    experiment, _, cells = pooled
    shown = class_plots.examples(experiment, cells)
    whole, window = (
        class_plots.examples_figure(shown, Geometry(crop=crop, size=32), "t", "f")
        for crop in (0, 210)
    )
    assert (whole != window).any()


def test_a_file_that_is_gone_costs_no_finished_run(pooled: Ran, tmp_path: Path) -> None:
    experiment, _, cells = pooled
    moved = replace(experiment, index=replace(experiment.index, tree=FolderTree(tmp_path)))
    shown = class_plots.examples(moved, cells)
    assert all(each.raw is None for of_class in shown for each in of_class)
    picture = class_plots.examples_figure(shown, experiment.config.geometry, "t", "f")
    assert (picture != 255).any()


def test_one_subject_gives_as_many_examples_as_there_are(pooled: Ran) -> None:
    experiment, _, cells = pooled
    rows = np.flatnonzero(experiment.index.labels == 1)[:3]
    split = replace(experiment.split, rows={**experiment.split.rows, "train": rows})
    alone = replace(cells, subjects=np.full(len(cells), "one"))
    negative, positive = class_plots.examples(replace(experiment, split=split), alone)
    assert (len(negative), len(positive)) == (0, 3)


TRACKED = """
import sys
from pathlib import Path

from leukemia.experiment.options import ExperimentOptions
from leukemia.ranking.inflation import as_text
from leukemia.study import results
from leukemia.study.launch import tracked
from leukemia.tracking import connection

for protocol in ("subject", "image", "thesis_preliminary"):
    tracked(ExperimentOptions(
        data=Path(sys.argv[1]), protocol=protocol, folds=3, budget="quick", image_size=32,
        scaling="imagenet", backbone="miniature", backbone_weights="none", precision="float32",
    ), experiment="own")
print(as_text(results.inflation(connection.connect("own"))))
"""


@pytest.fixture(scope="module")
def three_tracked(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A store with a baseline under three protocols, its own test set the latest of them, and
    what an inflation of it prints."""
    folder = tmp_path_factory.mktemp("tracked")
    uri = f"sqlite:///{folder}/mlflow.db"
    (folder / "tracked.py").write_text(TRACKED)
    given = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri, "LEUKEMIA_CACHE": "cache"}
    done = subprocess.run(
        [sys.executable, "tracked.py", str(tree)], capture_output=True, text=True, cwd=folder,
        env=os.environ | given,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return uri, done.stdout


def test_a_tracked_run_keeps_both_pictures_and_the_counts_in_its_manifest(
    three_tracked: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", three_tracked[0])
    kept = {CLASSES, "plots/class_distribution.png", "plots/raw_and_cropped.png"}
    found = mlflow.search_runs(experiment_names=["own"], output_format="list")
    assert len(found) == 3
    for each in found:
        assert {"class_distribution", "raw_and_cropped"} <= set(
            each.data.tags["pictures"].split(",")
        )
        file = mlflow.artifacts.download_artifacts(
            run_id=each.info.run_id, artifact_path=MANIFEST, dst_path=str(tmp_path)
        )
        assert kept <= set(json.loads(Path(file).read_text())["files"])


def test_a_run_on_the_thesis_own_test_set_is_no_part_of_an_inflation(
    three_tracked: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, printed = three_tracked
    assert "baseline: random split adds" in printed
    assert THESIS_PRELIMINARY not in printed
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    latest = mlflow.search_runs(experiment_names=["own"], output_format="list")[0]
    assert latest.data.tags["protocol"] == THESIS_PRELIMINARY
    assert latest.data.tags["folds"] == "1"
    assert "thesis_test_acc" in latest.data.metrics
    refused = CliRunner().invoke(inflation.main, ["--data", "x", "--protocols", THESIS_PRELIMINARY])
    assert refused.exit_code == 2
    assert f"'{THESIS_PRELIMINARY}': choose from subject, official, image, thesis, or all" in (
        refused.output
    )
