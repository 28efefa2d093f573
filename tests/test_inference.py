"""A classifier compiled for this machine answers as Keras does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from leukemia.cells import Cells
from leukemia.contract import schedule, unchanged
from leukemia.model.classifier import ModelConfig, build
from leukemia.model.inference import BATCH, Compiled, measuring, scores, serving
from leukemia.model.precision import of_processor
from leukemia.model.training import FitInputs, fit
from leukemia.report import silent


@pytest.fixture(scope="module")
def trained(cells: Cells):
    classifier = build(ModelConfig(backbone="miniature", weights="none", size=32), 0)
    fit(
        classifier,
        FitInputs(
            training=unchanged(cells), validation=cells, batch_size=16, seed=0, report=silent,
            stages=schedule(transfer=(1e-3, 1), fine_tune=(1e-3, 2)).stages(pretrained=False),
        ),
    )  # fmt: skip
    return classifier.model


def test_float32_gives_the_probabilities_of_keras(trained, cells: Cells) -> None:
    found = Compiled(trained, "float32")(cells.images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores(trained, cells.images), atol=1e-5)


def test_bfloat16_stays_within_a_hundredth_or_two(trained, cells: Cells) -> None:
    found = Compiled(trained, "bfloat16")(cells.images)
    np.testing.assert_allclose(found, scores(trained, cells.images), atol=0.02)


@pytest.mark.skipif(
    of_processor() == "float32", reason="this processor has no bfloat16: all is float32"
)
def test_a_served_cell_is_called_as_in_float32(trained, cells: Cells) -> None:
    """Also where bfloat16 alone would call it otherwise."""
    exact, quick = measuring(trained)(cells.images), Compiled(trained, "bfloat16")(cells.images)
    split = np.flatnonzero(exact != quick)
    assert len(split) > 10
    for row in split[:10]:
        threshold = float(exact[row] + quick[row]) / 2
        assert (exact[row] >= threshold) != (quick[row] >= threshold)
        answered = serving(trained, threshold)(cells.images)
        np.testing.assert_array_equal(answered >= threshold, exact >= threshold)
        np.testing.assert_allclose(answered, exact, atol=0.02)


def test_any_number_of_cells_and_progress(trained, cells: Cells) -> None:
    compiled = Compiled(trained, "float32")
    told: list[float] = []
    assert compiled(cells.images[:0]).shape == (0,)
    many = np.tile(cells.images, (2, 1, 1, 1))[: BATCH + 3]
    found = compiled(many, told.append)
    np.testing.assert_allclose(found[:3], compiled(many[:3]), atol=1e-5)
    assert told == [BATCH / (BATCH + 3), 1.0]


def test_no_report_of_its_use_leaves_the_machine() -> None:
    code = (
        "import sys; from leukemia.model.compiled import openvino; openvino();"
        "sys.exit(any(sys.modules[m] for m in sys.modules if m.startswith('openvino_telemetry')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
