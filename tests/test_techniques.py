"""One contract for every technique, and the closed forms of each."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import ndimage

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.contract import Schedule, Stage, TechniqueContext
from leukemia.errors import UserError
from leukemia.experiment.run import balanced
from leukemia.model.schedule import BUDGETS, EQUAL, schedule_for
from leukemia.techniques import augmentation, weighted

SMALL = {"dcgan": {"gan_size": 32, "gan_epochs": 1, "gan_batch": 16}}  # the rest takes a second


def balance(name: str, train: Cells, seed: int = 0, **settings: object):
    technique = techniques.load(name)
    chosen = replace(technique.Settings(), **SMALL.get(name, {}), **settings)
    return technique.balance(train, chosen, TechniqueContext(rng=np.random.default_rng(seed)))


@pytest.mark.parametrize("name", techniques.names())
class TestContract:
    def test_cells_that_came_are_kept_and_come_first(self, name: str, cells: Cells) -> None:
        before = cells.digest()
        made = balance(name, cells)
        assert cells.digest() == before
        assert made.cells.take(np.arange(len(cells))).digest() == before
        assert made.synthetic.tolist() == [row >= len(cells) for row in range(len(made.cells))]

    def test_made_cells_are_of_the_rarer_class_and_named(self, name: str, cells: Cells) -> None:
        made = balance(name, cells)
        new = made.cells.take(made.synthetic)
        assert set(new.labels) <= {cells.minority()}
        assert set(new.subjects) <= {f"synthetic:{name}"}
        assert made.cells.images.dtype == np.uint8
        assert made.cells.images.shape[1:] == cells.images.shape[1:]

    def test_the_classes_end_balanced_or_weighed(self, name: str, cells: Cells) -> None:
        made = balance(name, cells)
        negative, positive = made.cells.counts()
        weights = made.loss_weights if made.loss_weights is not None else made.draw_weights
        if name in ("baseline", "control"):
            assert (negative, positive) == (30, 60)
        elif weights is not None:
            halves = [weights[made.cells.labels == label].sum() for label in (0, 1)]
            assert halves[0] == pytest.approx(halves[1])
        else:  # ADASYN rounds each cell's share
            assert abs(positive - negative) <= (4 if name == "adasyn" else 0)

    def test_the_same_seed_gives_the_same_cells(self, name: str, cells: Cells) -> None:
        assert balance(name, cells, 5).cells.digest() == balance(name, cells, 5).cells.digest()

    def test_the_rarer_class_may_be_the_sought_one(self, name: str, cells: Cells) -> None:
        turned = replace(cells, labels=(1 - cells.labels).astype(np.int8))
        made = balance(name, turned)
        assert set(made.cells.labels[made.synthetic]) <= {1}

    def test_its_settings_have_defaults_and_help(self, name: str, cells: Cells) -> None:
        technique = techniques.load(name)
        assert technique.__doc__
        for each in fields(technique.Settings):
            assert each.metadata["help"]
            assert each.default is None or isinstance(each.default, int | float | str | bool)
        for budget in BUDGETS:
            techniques.defaults(technique, budget)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        (
            "baseline",
            Schedule(
                transfer=Stage(learning_rate=1e-3, epochs=5),
                fine_tune=Stage(learning_rate=1e-4, epochs=10),
            ),
        ),
        (
            "dcgan",
            Schedule(
                transfer=Stage(learning_rate=1e-4, epochs=10),
                fine_tune=Stage(learning_rate=1e-4, epochs=20),
            ),
        ),
        (
            "adasyn",
            Schedule(
                transfer=Stage(learning_rate=1e-6, epochs=3),
                fine_tune=Stage(learning_rate=1e-4, epochs=9),
            ),
        ),
        (
            "control",
            Schedule(
                transfer=Stage(learning_rate=1e-4, epochs=10),
                fine_tune=Stage(learning_rate=1e-4, epochs=20),
            ),
        ),
        (
            "weighted",
            Schedule(
                transfer=Stage(learning_rate=1e-3, epochs=5),
                fine_tune=Stage(learning_rate=1e-5, epochs=10),
            ),
        ),
        (
            "augmentation",
            Schedule(
                transfer=Stage(learning_rate=1e-6, epochs=5),
                fine_tune=Stage(learning_rate=1e-4, epochs=8),
            ),
        ),
    ],
)
def test_the_thesis_budget_is_the_thesis_table(name: str, schedule: Schedule) -> None:
    technique = techniques.load(name)
    assert schedule_for("thesis", technique) == schedule
    assert schedule_for("equal", technique) == EQUAL


def test_an_unknown_technique_is_named() -> None:
    with pytest.raises(UserError, match=r"no technique 'smote': choose one of adasyn, aug"):
        techniques.load("smote")


def test_a_technique_that_takes_cells_away_is_stopped(cells: Cells) -> None:
    from types import SimpleNamespace

    from leukemia.contract import unchanged

    thief = SimpleNamespace(balance=lambda train, *rest: unchanged(train.take(np.arange(50))))
    plan = SimpleNamespace(name="thief", technique=thief, settings=None, seed=0)
    with pytest.raises(UserError, match="technique thief took training cells away"):
        balanced(cells, plan, TechniqueContext(rng=np.random.default_rng(0)))  # type: ignore[arg-type]


def test_the_control_trains_as_many_steps_as_a_balanced_set_on_the_cells_that_came(
    cells: Cells,
) -> None:
    from leukemia.model.training import rows_of_epoch

    epoch = rows_of_epoch(balance("control", cells), 0, 1)
    assert len(epoch) == len(balance("augmentation", cells).cells) == 120
    assert sorted(epoch[:90]) == list(range(90))
    assert len(set(epoch[90:])) == 30


@pytest.mark.parametrize(("name", "parents"), [("adasyn", 2), ("augmentation", 1)])
def test_made_cells_tell_their_parents(name: str, parents: int, cells: Cells) -> None:
    made = balance(name, cells)
    assert made.parents.shape == (made.synthetic.sum(), parents)
    assert set(made.cells.labels[made.parents.ravel()]) == {cells.minority()}


def test_what_is_left_after_a_split_keeps_its_weights(cells: Cells) -> None:
    kept = np.arange(90) % 3 != 0
    part = balance("weighted", cells, mode="sampler").part(kept)
    assert len(part.cells) == 60
    assert part.draw_weights.sum() == pytest.approx(1)
    assert balance("control", cells).part(kept).epoch_size == 80


class TestWeighted:
    def test_balanced_is_the_formula_of_the_thesis(self, cells: Cells) -> None:
        assert weighted.class_weights(cells) == {0: 90 / (2 * 30), 1: 90 / (2 * 60)}
        weights = balance("weighted", cells).loss_weights
        assert weights.mean() == pytest.approx(1)

    def test_the_thesis_weights_are_7_for_the_rarer_class(self, cells: Cells) -> None:
        weights = balance("weighted", cells, mode="thesis").loss_weights
        assert set(weights[cells.labels == 0]) == {7.0}
        assert set(weights[cells.labels == 1]) == {2.0}

    def test_the_sampler_draws_both_classes_equally_often(self, cells: Cells) -> None:
        from leukemia.model.training import rows_of_epoch

        made = balance("weighted", cells, mode="sampler")
        assert made.loss_weights is None
        drawn = np.concatenate([rows_of_epoch(made, 0, epoch) for epoch in range(200)])
        assert cells.labels[drawn].mean() == pytest.approx(0.5, abs=0.015)

    def test_an_unknown_mode_is_refused(self, cells: Cells) -> None:
        with pytest.raises(UserError, match="mode 'heavy'"):
            balance("weighted", cells, mode="heavy")


class TestAugmentation:
    def test_no_change_gives_back_the_cell(self, cells: Cells) -> None:
        still = {"rotation": 0.0, "shift": 0.0, "shear": 0.0, "zoom": 0.0, "flip": False}
        made = balance("augmentation", cells, **still)
        sources = {image.tobytes() for image in cells.images[cells.labels == 0]}
        assert {image.tobytes() for image in made.cells.images[made.synthetic]} == sources

    def test_transforms_are_scipys_affine_maps(self, cells: Cells) -> None:
        rng = np.random.default_rng(2)
        matrices = augmentation.random_matrices(8, 32, augmentation.Settings(), rng)
        found = augmentation.transform(cells.images[:8], matrices, np.zeros(8, bool))
        for image, matrix, seen in zip(cells.images[:8], matrices, found, strict=True):
            for channel in range(3):
                expected = ndimage.affine_transform(
                    image[..., channel].astype(float), matrix, order=1, mode="nearest"
                )
                assert np.abs(expected - seen[..., channel]).max() <= 1

    def test_a_turn_is_about_the_centre(self) -> None:
        settings = augmentation.Settings(rotation=10.0, shift=0.0, shear=0.2, zoom=0.2, flip=False)
        for matrix in augmentation.random_matrices(20, 32, settings, np.random.default_rng(0)):
            np.testing.assert_allclose(matrix @ [15.5, 15.5, 1], [15.5, 15.5, 1], atol=1e-9)

    def test_ranges_are_the_settings(self) -> None:
        zoomed = augmentation.Settings(rotation=0.0, shift=0.0, shear=0.0, zoom=0.2, flip=False)
        matrices = augmentation.random_matrices(500, 32, zoomed, np.random.default_rng(0))
        scales = matrices[:, [0, 1], [0, 1]]
        assert scales.min() == pytest.approx(0.8, abs=0.01)
        assert scales.max() == pytest.approx(1.2, abs=0.01)

    def test_no_cell_is_copied_twice_before_all_are_once(self) -> None:
        rows = augmentation.in_turn(np.arange(10), 25, np.random.default_rng(0))
        assert sorted(rows[:10]) == sorted(rows[10:20]) == list(range(10))
        assert len(set(rows[20:])) == 5
