"""A classifier's training that was killed goes on in the epoch where it was: to the same end, bit
for bit. `make faults` kills whole runs at random moments."""

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.contract import Stage, TrainingSet, schedule, unchanged
from leukemia.data.sample import draw_cells
from leukemia.errors import UserError
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import prepare
from leukemia.experiment.run import run
from leukemia.model import checkpoint, unfinished
from leukemia.model.backbones import BACKBONES, Backbone
from leukemia.model.classifier import Classifier, ModelConfig, build
from leukemia.model.inference import scores
from leukemia.model.training import FitInputs, History, fit
from leukemia.report import silent
from tests.conftest import ROOT
from tests.test_techniques import balance

TERMS = schedule(transfer=(1e-2, 2), fine_tune=(1e-2, 2))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a training leaves: all variables with the states of dropout, history, predictions."""

    variables: list[bytes]
    history: list[dict[str, str]]  # as text, in which NaN is NaN
    scores: bytes


def forgetful(shape: tuple[int, int, int], path: str | None) -> keras.Model:
    """Two layers with variables, one of which learns statistics, and dropout, which has a state."""
    inputs = keras.Input(shape)
    maps = layers.DepthwiseConv2D(3, strides=4)(inputs)
    network = keras.Model(inputs, layers.Dropout(0.5)(layers.BatchNormalization()(maps)))
    if path is not None:
        network.load_weights(path)
    return network


@contextmanager
def knowing() -> Iterator[None]:
    """The backbone with dropout; the same numbers each time; and each epoch kept."""
    tf.config.experimental.enable_op_determinism()
    entry = Backbone(name="forgetful", about="for these tests", build=forgetful, expects="tf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "forgetful", entry)
        patch.setattr(unfinished, "SECONDS_BETWEEN", 0.0)
        yield


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    with knowing():
        yield


def drawn() -> Cells:
    """13 negative and 27 positive cells of 32 px."""
    return draw_cells(40, seed=3, size=32, subjects=8)


few = pytest.fixture(scope="module", name="few")(drawn)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights to start from, by backbone."""
    folder = tmp_path_factory.mktemp("start")
    for name in ("forgetful", "miniature"):
        backbone = build(model(name), 9).model.get_layer("backbone")
        backbone.save_weights(folder / f"{name}.weights.h5")
    return folder


def model(backbone: str, start: Path | None = None) -> ModelConfig:
    weights = str(start / f"{backbone}.weights.h5") if start else "none"
    return ModelConfig(backbone=backbone, weights=weights, size=32)


def trained(
    chosen: ModelConfig, training: TrainingSet, validation: Cells, **settings: Any
) -> tuple[Classifier, History]:
    # As in a process of its own: layers are numbered from 0 on, and of two branches into a sum
    # TensorFlow fuses the one whose name comes first, which rounds otherwise in bfloat16.
    keras.backend.clear_session()
    classifier = build(chosen, 0)
    stages = training.stages or TERMS.stages(classifier.pretrained)
    given: dict[str, Any] = {"batch_size": 16, "seed": 0, "report": silent, "stages": stages}
    inputs = FitInputs(training=training, validation=validation, **(given | settings))
    return classifier, fit(classifier, inputs)


def end_of(classifier: Classifier, history: History, cells: Cells) -> Ended:
    timeless = [{k: repr(v) for k, v in row.items() if k != "epoch_seconds"} for row in history]
    return Ended(
        variables=[np.asarray(each).tobytes() for each in classifier.model.variables],
        history=timeless,
        scores=scores(classifier.model, cells.images).tobytes(),
    )


class Course:
    """A whole training, and the state that it left after each epoch: as a kill after it does."""

    def __init__(self, folder: Path, *given: Any):
        self.folder, self.given, self.cells = folder, given, given[-1]
        epochs = itertools.count(1)

        def keep() -> None:
            shutil.copytree(folder / "going", folder / f"{next(epochs)}")

        classifier, history = trained(*given, folder=folder / "going", saved=keep)
        self.whole, self.epochs = end_of(classifier, history, self.cells), len(history)

    def resumed(self, after: int, **settings: Any) -> Ended:
        """The end of a training that goes on from the state after an epoch."""
        copy = shutil.copytree(self.folder / f"{after}", self.folder / f"from_{after}")
        again = trained(*self.given, folder=copy, **settings)
        return end_of(*again, self.cells)


# The other examples only leave cells out, add some as others do, or decide otherwise.
OF_EXAMPLES = ("feature_smote", "focal", "mixup", "retraining", "root_draw")
# Every technique takes a minute in all; these differ in how they train.
OFTEN = ("baseline", "dcgan", "feature_smote", "mixup", "retraining")
KILLS = [
    pytest.param(name, after, marks=[] if name in OFTEN else [pytest.mark.slow])
    for name, after in zip(
        (*techniques.names(), *OF_EXAMPLES), itertools.cycle([1, 2, 3]), strict=False
    )
]


@pytest.mark.parametrize(("name", "after"), KILLS)
def test_with_every_technique_it_ends_the_same(
    name: str, after: int, few: Cells, start: Path, tmp_path: Path
) -> None:
    """Killed within the first stage or right after it, from scratch, so that the second goes on
    with network and optimizer; or in the second stage, which follows that of a head."""
    chosen = model("forgetful", start if after == 3 else None)
    course = Course(tmp_path, chosen, balance(name, few), few)
    assert course.resumed(after) == course.whole


@pytest.fixture(scope="module")
def course(few: Cells, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A head, a network, the same network under other weights, and a fresh head."""
    weights = np.where(few.labels == 1, 1.0, 3.0).astype(np.float32)
    stages = (
        Stage(learning_rate=1e-2, epochs=2, trains="head"),
        Stage(learning_rate=1e-2, epochs=1),
        Stage(learning_rate=1e-3, epochs=1, loss_weights=weights),
        Stage(learning_rate=1e-2, epochs=2, trains="head", fresh_head=True),
    )
    training = replace(unchanged(few), stages=stages)
    folder = tmp_path_factory.mktemp("course")
    return Course(folder, model("miniature", start), training, few)


class TestInEveryStage:
    @pytest.mark.parametrize("after", [1, 3, 4, 5])
    def test_it_ends_the_same(self, after: int, course: Course) -> None:
        assert course.resumed(after) == course.whole

    def test_what_is_done_is_told_once_more_and_not_trained_again(self, course: Course) -> None:
        """Nor are the final answers asked for."""
        told: list[tuple[int, Any]] = []

        def never() -> np.ndarray:
            raise AssertionError("the last epoch is in the checkpoint")

        last = course.resumed(6, report=lambda *each: told.append(each), final=never)
        assert last == course.whole
        assert [step for step, _ in told] == [1, 2, 3, 4, 5, 6]
        for (step, values), row in zip(told, course.whole.history, strict=True):
            assert values.keys() > row.keys() - {"epoch"}
            assert {k: repr(v) for k, v in ({"epoch": step} | values).items() if k in row} == row

    def test_a_head_that_was_trained_alone_is_kept_alone(self, course: Course) -> None:
        sizes = [(course.folder / f"{n}" / checkpoint.FILE).stat().st_size for n in (2, 3)]
        assert sizes[0] * 10 < sizes[1]

    def test_that_of_another_training_is_refused_in_one_line(self, course: Course) -> None:
        """Its figures are in the run already."""
        mixed = replace(course.cells, images=course.cells.images[::-1])
        folder = course.folder / "4"
        for wrong in (
            {"seed": 1},
            {"validation": mixed},
            {"training": unchanged(mixed)},
        ):
            chosen, training, validation = course.given
            given = {"training": training, "validation": validation, "folder": folder} | wrong
            with pytest.raises(UserError, match=r"4/checkpoint.npz is of another training .* remo"):
                trained(chosen, **given)
        with pytest.raises(UserError, match="is of another training"):
            trained(replace(chosen, weights="none"), *course.given[1:], folder=folder)

    def test_a_damaged_one_is_named(self, course: Course, tmp_path: Path) -> None:
        shutil.copytree(course.folder / "4", tmp_path / "damaged")
        path = tmp_path / "damaged" / checkpoint.FILE
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"damaged/checkpoint.npz is damaged .*: remove it"):
            trained(*course.given, folder=tmp_path / "damaged")


@pytest.mark.parametrize(
    ("backbone", "epoch"),
    [("forgetful", 4), pytest.param("miniature", 2, marks=pytest.mark.slow)],
)
def test_killed_with_9_in_another_process_it_ends_the_same(
    backbone: str, epoch: int, few: Cells, start: Path, tmp_path: Path
) -> None:
    chosen = model(backbone, start)
    code = f"""
from tests.test_checkpoint import *
def kill(at, values):
    if at == {epoch} and "val_loss" in values:
        os.kill(os.getpid(), signal.SIGKILL)
with knowing():
    trained({chosen!r}, unchanged(drawn()), drawn(), folder=Path({str(tmp_path)!r}), report=kill)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    given = (chosen, unchanged(few), few)
    resumed = end_of(*trained(*given, folder=tmp_path), few)
    assert resumed == end_of(*trained(*given), few)


def test_an_experiment_goes_on_and_one_killed_after_training_only_evaluates(
    table: Path, tmp_path: Path
) -> None:
    options = ExperimentOptions(
        technique="baseline", data=str(table), positive="blast", folds=3, budget="quick",
        image_size=32, crop=0, backbone="miniature", backbone_weights="none", batch_size=16,
    )  # fmt: skip
    experiment, cells = prepare(options, tmp_path / "cache")

    def kill(epoch: int, values: Mapping[str, Any]) -> None:
        if epoch == 4 and "val_loss" in values:
            raise KeyboardInterrupt

    outcomes = []
    for folder, report in (("whole", silent), ("killed", kill), ("killed", silent)):
        keras.backend.clear_session()
        with suppress(KeyboardInterrupt):
            outcomes.append(run(experiment, cells, report, tmp_path / folder))
    keras.backend.clear_session()
    outcomes.append(run(experiment, cells, refuse, tmp_path / "killed"))
    whole, resumed, evaluated = outcomes
    for other in (resumed, evaluated):
        assert end_of(other.classifier, other.history, cells) == end_of(
            whole.classifier, whole.history, cells
        )
        assert repr(other.evaluation.metrics) == repr(whole.evaluation.metrics)
    for cost in ("features_s", "balance_s", "review_s", "train_s"):
        assert evaluated.costs[cost] == resumed.costs[cost]


def refuse(epoch: int, values: Mapping[str, Any]) -> None:
    assert "epoch_done" not in values, "it is trained again"


class TestFile:
    """What both kinds of training share: one writer and one reader."""

    def arrays(self) -> dict[str, np.ndarray]:
        return {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7, np.int64)}

    def written(self, folder: Path) -> None:
        checkpoint.write(folder, "the test", "mark", {"epoch": 3}, self.arrays().items())

    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        assert checkpoint.read(tmp_path, "mark") is None
        self.written(tmp_path)
        there = checkpoint.read(tmp_path, "mark")
        assert there
        header, arrays = there
        assert header["epoch"] == 3
        for name, array in self.arrays().items():
            np.testing.assert_array_equal(arrays[name], array)
            assert arrays[name].dtype == array.dtype

    def test_halves_that_kills_left_are_removed(self, tmp_path: Path) -> None:
        (tmp_path / f"{checkpoint.FILE}x1y2").write_bytes(b"half")
        self.written(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]

    def test_a_disk_that_is_full_halfway_leaves_the_former_one(self, tmp_path: Path) -> None:
        self.written(tmp_path)

        def ending() -> Iterator[tuple[str, np.ndarray]]:
            yield "a", np.zeros(1000)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.raises(
            UserError, match=r"^the test's checkpoint cannot be written to .* \(No space left on de"
        ):
            checkpoint.write(tmp_path, "the test", "mark", {}, ending())
        assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]
        there = checkpoint.read(tmp_path, "mark")
        assert there
        assert there[0]["epoch"] == 3
