"""Pictures: whole, square enough for MLflow, and of what they say."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.data.geometry import Geometry
from leukemia.evaluation import plots as figures
from leukemia.evaluation.by_subject import by_subject, worst
from leukemia.evaluation.calibration import reliability, rescale
from leukemia.evaluation.metrics import confusion
from leukemia.evaluation.predictions import Predictions
from leukemia.experiment import class_plots
from leukemia.model.schedule import BUDGETS, schedule_for

POSITIVE, NEGATIVE = "lymphoblast (ALL)", "normal precursor (HEM)"  # longer than C-NMC's
TITLE = "dcgan-g1000-r: the most confidently wrong and right test cells"
FOOTNOTE = (
    "dcgan-g1000-r, seed 0. Protocol official: no subject in two splits; test: preliminary set; "
    "validation: official fold_0; train: the other folds. SIMULATED DATA: drawn cells, seed 7. "
    "Research use only; not for diagnosis."
)


def predictions(subjects: int = 60) -> Predictions:
    rng = np.random.default_rng(0)
    of_cell = rng.integers(0, subjects, 1500)
    labels = (of_cell % 2).astype(np.int8)
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.3), 0, 1).astype(np.float32)
    names = np.array([f"a hospital's long name/{number:03d}" for number in of_cell])
    return Predictions(labels=labels, scores=scores, subjects=names, cell_id=names)


def reliability_picture(cells: Cells) -> np.ndarray:
    test = predictions()
    before = reliability(test.labels, test.scores)
    after = reliability(test.labels, rescale(test.scores, 2.5))
    return figures.reliability_figure(before, after, 2.5, POSITIVE, TITLE, FOOTNOTE)


def subjects_picture(cells: Cells) -> np.ndarray:
    table = worst(by_subject(predictions()), 60)
    return figures.subjects_figure(table, POSITIVE, NEGATIVE, TITLE, FOOTNOTE)


def gradcam_picture(cells: Cells, heat: float = 0.5, scores: float = 0.5) -> np.ndarray:
    shown = cells.take(np.arange(8))
    return figures.gradcam_figure(
        shown,
        np.full(8, scores, np.float32),
        np.full((8, 32, 32), heat, np.float32),
        (2, 2),
        (POSITIVE, NEGATIVE),
        TITLE,
        FOOTNOTE,
    )


def confusion_picture(cells: Cells) -> np.ndarray:
    test = predictions()
    counts = confusion(test.labels, test.scores)
    return figures.confusion_figure(counts, "all", "hem", TITLE[:40], FOOTNOTE)


def synth_picture(cells: Cells) -> np.ndarray:
    images = np.asarray(cells.images)
    return figures.real_and_made_figure(images, images, "dcgan", POSITIVE, FOOTNOTE)


def counts_picture(cells: Cells) -> np.ndarray:
    rows = [
        (split, name, 7000 + 99 * number, 0, made, 7000 + 99 * number + made, 0.5)
        for split, made in (("train", 5000), ("validation", 0), ("test", 0))
        for number, name in enumerate((NEGATIVE, POSITIVE))
    ]
    table = pd.DataFrame(rows, columns=class_plots.COLUMNS)
    return class_plots.counts_figure(table, TITLE[:40], FOOTNOTE)


def examples_picture(cells: Cells) -> np.ndarray:
    image = cells.images[0]
    wide = np.zeros((40, 90, 3), np.uint8)
    shown = [
        [class_plots.Example(name=name, raw=raw, cropped=image) for raw in (wide, None, image)]
        for name in (NEGATIVE, POSITIVE)
    ]
    return class_plots.examples_figure(shown, Geometry(crop=32), TITLE, FOOTNOTE)


PICTURES = [
    counts_picture,
    examples_picture,
    reliability_picture,
    subjects_picture,
    gradcam_picture,
    confusion_picture,
    synth_picture,
]


@pytest.mark.parametrize("draw", PICTURES)
def test_nothing_runs_over_the_edge(draw: Callable[[Cells], np.ndarray], cells: Cells) -> None:
    picture = draw(cells)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    edges = [picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]]
    assert all((edge == 255).all() for edge in edges)
    assert (picture != 255).any()


@pytest.mark.parametrize("draw", PICTURES)
def test_pictures_fill_mlflow_s_squares(draw: Callable[[Cells], np.ndarray], cells: Cells) -> None:
    height, width, _ = draw(cells).shape
    assert 0.75 < height / width < 1.34


@pytest.mark.parametrize("draw", PICTURES)
def test_the_same_values_give_the_same_picture(
    draw: Callable[[Cells], np.ndarray], cells: Cells
) -> None:
    np.testing.assert_array_equal(draw(cells), draw(cells))


def test_at_most_40_subjects_are_drawn_and_the_footnote_says_of_how_many() -> None:
    table = worst(by_subject(predictions()), 60)
    all_60, said, least_39 = (
        figures.subjects_figure(rows, POSITIVE, NEGATIVE, TITLE, footnote)
        for rows, footnote in (
            (table, "Drawn."),
            (table.head(40), "The 40 worst of 60 subjects. Drawn."),
            (table.head(39), "The 40 worst of 60 subjects. Drawn."),
        )
    )
    np.testing.assert_array_equal(all_60, said)
    assert (said != least_39).any()


def test_a_subject_of_both_classes_is_drawn_in_grey() -> None:
    names = np.array(["A", "A", "B"])
    cells = Predictions(
        labels=np.array([1, 0, 1], np.int8),
        scores=np.full(3, 0.9, np.float32),
        subjects=names,
        cell_id=names,
    )
    table = by_subject(cells)
    grey, red = (
        (figures.subjects_figure(rows, "all", "hem", "", "") == 128).all(axis=2).sum()
        for rows in (table, table.assign(group="positive"))
    )
    assert grey > red + 50


def test_a_file_s_name_is_never_read_as_a_formula(cells: Cells) -> None:
    odd = np.array([r"scan$\frac{$.png"])
    shown = Cells(images=cells.images[:1], labels=cells.labels[:1], subjects=odd, cell_id=odd)
    picture = figures.gradcam_figure(
        shown, np.ones(1), np.ones((1, 32, 32)), (2, 2), ("all", "hem"), TITLE, FOOTNOTE
    )
    assert picture.ndim == 3


def test_the_heat_lies_over_the_second_picture_of_a_pair_only(cells: Cells) -> None:
    cold, hot = gradcam_picture(cells, 0.0), gradcam_picture(cells, 1.0)
    changed = (cold != hot).any(axis=(0, 2))
    pairs = np.flatnonzero(np.diff(np.concatenate([[0], changed, [0]]))).reshape(-1, 2)
    assert len(pairs) == 2  # two columns of maps
    width = cold.shape[1]
    assert [start > place * width for (start, _), place in zip(pairs, (0.2, 0.7), strict=True)]
    assert all(end - start < width / 4 for start, end in pairs)


def test_cells_called_wrongly_are_captioned_in_red(cells: Cells) -> None:
    red = (178, 34, 34)
    wrong_negative, wrong_positive = (
        (gradcam_picture(cells, scores=score) == red).all(axis=2).sum() for score in (1.0, 0.0)
    )
    assert wrong_negative > 0
    assert wrong_positive > 0
    positive = cells.take(np.flatnonzero(cells.labels == 1))
    assert (gradcam_picture(positive, scores=1.0) == red).all(axis=2).sum() == 0
    assert (gradcam_picture(positive, scores=0.0) == red).all(axis=2).sum() > 0


def lengths() -> set[int]:
    """In epochs, of every technique's training under every budget; and some others."""
    own = {
        schedule_for(budget, techniques.load(name)).epochs
        for budget in BUDGETS
        for name in techniques.names()
    }
    return own | {1, figures.MANY_EPOCHS - 1, figures.MANY_EPOCHS, 100}


@pytest.mark.parametrize("epochs", sorted(lengths()))
@pytest.mark.parametrize("names", [["loss"], ["acc", "bal_acc"]])
def test_curves_are_drawn_of_as_many_epochs_as_there_are(epochs: int, names: list[str]) -> None:
    history = [
        {"epoch": float(epoch), **{f"{side}_{name}": 1 / epoch for side in ("train", "val")
                                   for name in names}}
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    assert figures.curves_figure(history, names, TITLE, FOOTNOTE).ndim == 3
