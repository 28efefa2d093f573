"""Cells that look mislabelled are named, from scores of networks that had not seen them."""

import numpy as np
import pytest

from leukemia.cells import Cells
from leukemia.evaluation.predictions import Predictions
from leukemia.ranking.label_errors import COLUMNS, LabelErrors, figure, suspects
from leukemia.ranking.networks import Network

FLIPPED = 20  # of 400


def networks(flipped: int, seed: int = 0, spread: float = 0.12) -> dict[str, Network]:
    """Four networks' scores of 400 cells, of which some have the other label."""
    rng = np.random.default_rng(seed)
    truth = np.arange(400) % 2
    labels = truth.copy()
    labels[:flipped] = 1 - labels[:flipped]
    made = {}
    for number in range(4):
        noise = rng.normal(0, spread, 400)
        scores = np.clip(np.where(truth == 1, 0.85, 0.15) + noise, 0, 1).astype(np.float32)
        cells = Predictions(
            labels=labels.astype(np.int8),
            scores=scores,
            subjects=np.array([f"S{row // 10}" for row in range(400)]),
            cell_id=np.array([f"{row:03d}.png" for row in range(400)]),
        )
        made[str(number)] = Network(validation=cells, test=cells)
    return made


def found(flipped: int, **more: float) -> LabelErrors:
    errors = suspects(networks(flipped, **more), "ALL", "HEM")  # type: ignore[arg-type]
    assert errors is not None
    return errors


@pytest.mark.parametrize("seed", range(5))
def test_flipped_labels_are_found_and_few_others(seed: int) -> None:
    errors = found(FLIPPED, seed=seed)
    named = {int(path[:3]) for path in errors.table["path"]}
    assert len(named & set(range(FLIPPED))) >= 17
    assert len(named - set(range(FLIPPED))) <= 2
    assert list(errors.table.columns) == COLUMNS
    assert errors.table["own_label"].is_monotonic_increasing
    assert set(errors.table["runs"]) == {4}
    first = errors.table.iloc[0]
    assert {first["label"], first["suggested"]} == {"ALL", "HEM"}
    assert errors.line.startswith(f"LABELS: {len(named)} of 400 tested cells look mislabelled")
    assert "none was removed" in errors.line


@pytest.mark.parametrize("seed", range(5))
def test_clean_labels_are_left_alone(seed: int) -> None:
    assert len(found(0, seed=seed).table) == 0


def test_too_few_cells_of_a_class_say_nothing() -> None:
    few = {
        name: Network(validation=each.validation, test=_first(each.test, 15))
        for name, each in networks(0).items()
    }
    assert suspects(few, "ALL", "HEM") is None


def _first(cells: Predictions, count: int) -> Predictions:
    return Predictions(
        labels=cells.labels[:count], scores=cells.scores[:count],
        subjects=cells.subjects[:count], cell_id=cells.cell_id[:count],
    )  # fmt: skip


def test_the_surest_are_pictured_under_both_labels() -> None:
    errors = found(FLIPPED)
    images = np.zeros((400, 32, 32, 3), np.uint8)
    images[:FLIPPED] = (200, 30, 30)
    cells = networks(0)["0"].test
    picture = figure(
        errors,
        Cells(images=images, labels=cells.labels, subjects=cells.subjects, cell_id=cells.cell_id),
        "Research use only.",
    )
    red = (picture[..., 0] > 150) & (picture[..., 1] < 80)
    assert red.sum() > 12 * 60 * 60
