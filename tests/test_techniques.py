"""One contract for every technique, the project's own and the eight examples; closed forms."""

from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.contract import (
    Batch,
    Schedule,
    TechniqueContext,
    TrainingSet,
    schedule,
    unchanged,
    without,
)
from leukemia.errors import UserError
from leukemia.experiment.balance import hold_to_contract
from leukemia.model.rows import effective_prior, order_of_epoch, rows_of
from leukemia.model.schedule import BUDGETS, EQUAL, QUICK, schedule_for
from leukemia.techniques import augmentation, weighted

EXAMPLES = tuple(
    sorted(file.stem for file in (Path(__file__).parent / "examples").glob("[!_]*.py"))
)
ALL = (*techniques.names(), *EXAMPLES)
SMALL = {"dcgan": {"gan_size": 32, "gan_epochs": 1, "gan_batch": 16}}  # the rest takes a second


def technique_of(name: str) -> ModuleType:
    if name in EXAMPLES:
        return import_module(f"tests.examples.{name}")
    return techniques.load(name)


def context_of(seed: int = 0) -> TechniqueContext:
    return TechniqueContext(rng=np.random.default_rng(seed), schedule=QUICK)


def balance(name: str, train: Cells, seed: int = 0, **settings: Any) -> TrainingSet:
    technique = technique_of(name)
    chosen = replace(technique.Settings(), **SMALL.get(name, {}), **settings)
    return technique.balance(train, chosen, context_of(seed))


@pytest.mark.parametrize("name", ALL)
class TestContract:
    def test_its_training_set_is_one_that_may_be_handed_back(self, name: str, cells: Cells) -> None:
        hold_to_contract(cells, balance(name, cells), name)

    def test_cells_that_came_are_not_changed(self, name: str, cells: Cells) -> None:
        before = cells.digest()
        made = balance(name, cells)
        assert cells.digest() == before
        kept = np.delete(np.arange(len(cells)), made.left_out)
        real = made.cells.take(np.arange(len(kept)))
        assert real.digest() == cells.take(kept).digest()
        assert made.synthetic.tolist() == [row >= len(kept) for row in range(len(made.cells))]

    def test_no_class_shrinks_but_by_the_cells_that_are_named(
        self, name: str, cells: Cells
    ) -> None:
        made = balance(name, cells)
        left_out = np.bincount(cells.labels[made.left_out], minlength=2)
        grown = np.array(made.cells.counts()) - np.array(cells.counts()) + left_out
        assert (grown >= 0).all()

    def test_synthetic_cells_are_of_the_rarer_class_and_named(
        self, name: str, cells: Cells
    ) -> None:
        made = balance(name, cells)
        new = made.cells.take(made.synthetic)
        assert set(new.labels) <= {cells.minority()}
        assert set(new.subjects) <= {f"synthetic:{name}"}
        assert made.cells.images.dtype == np.uint8
        assert made.cells.images.shape[1:] == cells.images.shape[1:]

    def test_the_same_seed_gives_the_same_cells_and_draws(self, name: str, cells: Cells) -> None:
        first, again = balance(name, cells, 5), balance(name, cells, 5)
        assert first.cells.digest() == again.cells.digest()
        assert np.array_equal(first.left_out, again.left_out)
        for one, other in zip(changed(first, 5), changed(again, 5), strict=True):
            assert np.array_equal(one, other)

    def test_the_rarer_class_may_be_the_positive_one(self, name: str, cells: Cells) -> None:
        turned = replace(cells, labels=(1 - cells.labels).astype(np.int8))
        made = balance(name, turned)
        assert set(made.cells.labels[made.synthetic]) <= {1}
        hold_to_contract(turned, made, name)

    def test_its_settings_have_defaults_and_help(self, name: str, cells: Cells) -> None:
        technique = technique_of(name)
        assert technique.__doc__
        assert "Wrong when" in technique.__doc__
        for each in fields(technique.Settings):
            assert each.metadata["help"]
            assert each.default is None or isinstance(each.default, int | float | str | bool)
        for budget in BUDGETS:
            techniques.defaults(technique, budget)


def changed(made: TrainingSet, seed: int) -> tuple[np.ndarray, ...]:
    """The first batch of a training set as the technique changes it."""
    rows = rows_of(made)
    chosen = order_of_epoch(rows, seed, 1)[:8]
    batch = Batch(
        images=made.cells.images[chosen], labels=rows.labels[chosen], weights=rows.weights[chosen]
    )
    if made.change:
        batch = made.change(batch, np.random.default_rng(seed))
    return batch.images, batch.labels, batch.weights


@pytest.mark.parametrize(
    ("name", "shortage"),
    [("adasyn", 4), ("augmentation", 0), ("dcgan", 0), ("duplicates", 0), ("undersampling", 0)],
)
def test_the_classes_end_balanced(name: str, shortage: int, cells: Cells) -> None:
    assert balance(name, cells).cells.shortage() <= shortage  # ADASYN rounds each cell's share


@pytest.mark.parametrize("name", ["baseline", "control"])
def test_nothing_is_balanced_to_compare_with(name: str, cells: Cells) -> None:
    made = balance(name, cells)
    assert made.cells.counts() == (30, 60)
    assert made.loss_weights is None
    assert made.draw_weights is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("baseline", schedule(transfer=(1e-3, 5), fine_tune=(1e-4, 10))),
        ("dcgan", schedule(transfer=(1e-4, 10), fine_tune=(1e-4, 20))),
        ("adasyn", schedule(transfer=(1e-6, 3), fine_tune=(1e-4, 9))),
        ("control", schedule(transfer=(1e-4, 10), fine_tune=(1e-4, 20))),
        ("weighted", schedule(transfer=(1e-3, 5), fine_tune=(1e-5, 10))),
        ("augmentation", schedule(transfer=(1e-6, 5), fine_tune=(1e-4, 8))),
    ],
)
def test_the_thesis_budget_is_the_thesis_table(name: str, expected: Schedule) -> None:
    technique = techniques.load(name)
    assert schedule_for("thesis", technique) == expected
    assert schedule_for("equal", technique) == EQUAL


def test_an_unknown_technique_is_named() -> None:
    with pytest.raises(UserError, match=r"no technique 'smote': choose one of adasyn, aug"):
        techniques.load("smote")


def test_a_file_without_balance_is_a_helper_and_one_without_settings_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helper.py").write_text("def blend(a, b):\n    return a\n")
    (tmp_path / "bare.py").write_text("def balance(train, settings, context):\n    return None\n")
    monkeypatch.setattr(techniques, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(techniques, "__path__", [str(tmp_path)])
    techniques.names.cache_clear()
    try:
        assert techniques.names() == ("bare",)
        with pytest.raises(UserError, match=r"bare\.py has a function balance but no dataclass"):
            techniques.load("bare")
    finally:
        techniques.names.cache_clear()


def test_cells_that_vanish_or_move_are_noticed(cells: Cells) -> None:
    rows = np.arange(50)
    with pytest.raises(UserError, match="handed back 50 real cells where 90 came and 0 are named"):
        hold_to_contract(cells, unchanged(cells.take(rows)), "thief")
    with pytest.raises(UserError, match="cells come back in their order"):
        hold_to_contract(cells, unchanged(cells.take(np.arange(90)[::-1])), "thief")
    hold_to_contract(cells, without(cells, np.arange(50, 90)), "honest")


def test_a_class_that_is_left_out_whole_is_noticed(cells: Cells) -> None:
    with pytest.raises(UserError, match="left a class without a training cell"):
        hold_to_contract(cells, without(cells, np.flatnonzero(cells.labels == 0)), "purge")


def test_weights_of_another_length_and_images_of_another_type_are_noticed(cells: Cells) -> None:
    weighed = replace(unchanged(cells), loss_weights=np.ones(7, np.float32))
    with pytest.raises(UserError, match="7 weights for 90 cells"):
        hold_to_contract(cells, weighed, "short")
    floats = replace(cells, images=np.asarray(cells.images, np.float32))
    with pytest.raises(UserError, match="images of float32"):
        hold_to_contract(cells, unchanged(floats), "float")


def test_the_control_trains_as_many_steps_as_a_balanced_set_on_the_cells_that_came(
    cells: Cells,
) -> None:
    epoch = order_of_epoch(rows_of(balance("control", cells)), 0, 1)
    assert len(epoch) == len(balance("augmentation", cells).cells) == 120
    assert sorted(epoch[:90]) == list(range(90))
    assert len(set(epoch[90:])) == 30


@pytest.mark.parametrize(("name", "parents"), [("adasyn", 2), ("augmentation", 1)])
def test_synthetic_cells_tell_their_parents(name: str, parents: int, cells: Cells) -> None:
    made = balance(name, cells)
    assert made.parents is not None
    assert made.parents.shape == (made.synthetic.sum(), parents)
    assert set(made.cells.labels[made.parents.ravel()]) == {cells.minority()}


def test_what_is_left_after_a_split_keeps_its_weights(cells: Cells) -> None:
    kept = np.arange(90) % 3 != 0
    part = balance("weighted", cells, mode="sampler").part(kept)
    assert len(part.cells) == 60
    assert part.draw_weights is not None
    assert part.draw_weights.sum() == pytest.approx(1)
    assert balance("control", cells).part(kept).epoch_size == 80
    stages = balance("retraining", cells).part(kept).stages
    assert stages
    draw_weights = stages[-1].draw_weights
    assert draw_weights is not None
    assert len(draw_weights) == 60
    assert draw_weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "settings", "prior"),
    [
        ("baseline", {}, 2 / 3),  # of 60 positive and 30 negative cells
        ("control", {}, 2 / 3),
        ("threshold_moving", {}, 2 / 3),
        ("augmentation", {}, 1 / 2),
        ("duplicates", {}, 1 / 2),
        ("undersampling", {}, 1 / 2),
        ("weighted", {}, 1 / 2),
        ("weighted", {"mode": "thesis"}, 120 / (120 + 210)),
        ("weighted", {"mode": "sampler"}, 1 / 2),
        ("root_draw", {}, np.sqrt(2) / (1 + np.sqrt(2))),
        ("retraining", {}, 1 / 2),  # its last stage draws both classes alike
        ("focal", {}, np.nan),
        ("mixup", {}, np.nan),
        ("feature_smote", {}, np.nan),
    ],
)
def test_the_prior_that_training_saw_is_that_of_cells_draws_and_weights(
    name: str, settings: dict[str, Any], prior: float, cells: Cells
) -> None:
    made = balance(name, cells, **settings)
    stages = made.stages or context_of().stages()
    assert effective_prior(made, stages) == pytest.approx(prior, nan_ok=True)


def test_the_last_stage_that_trains_decides_which_prior_was_seen(cells: Cells) -> None:
    first, last = context_of().stages()
    even = np.where(cells.labels == 1, 1.0, 2.0).astype(np.float32)
    assert effective_prior(unchanged(cells), (first, replace(last, loss_weights=even))) == 0.5
    ended = (replace(first, loss_weights=even), replace(last, loss_weights=2 * even, epochs=0))
    assert effective_prior(unchanged(cells), ended) == 0.5
    before = (replace(first, loss_weights=even), last)
    assert effective_prior(unchanged(cells), before) == pytest.approx(2 / 3)


class TestWeighted:
    def test_balanced_is_the_formula_of_the_thesis(self, cells: Cells) -> None:
        assert weighted.class_weights(cells) == {0: 90 / (2 * 30), 1: 90 / (2 * 60)}
        weights = balance("weighted", cells).loss_weights
        assert weights is not None
        assert weights.mean() == pytest.approx(1)
        halves = [weights[cells.labels == label].sum() for label in (0, 1)]
        assert halves[0] == pytest.approx(halves[1])

    def test_the_thesis_weights_are_7_for_the_rarer_class(self, cells: Cells) -> None:
        weights = balance("weighted", cells, mode="thesis").loss_weights
        assert weights is not None
        assert set(weights[cells.labels == 0]) == {7.0}
        assert set(weights[cells.labels == 1]) == {2.0}

    def test_the_sampler_draws_both_classes_equally_often(self, cells: Cells) -> None:
        from leukemia.model.rows import order_of_epoch, rows_of

        made = balance("weighted", cells, mode="sampler")
        assert made.loss_weights is None
        drawn = np.concatenate([order_of_epoch(rows_of(made), 0, epoch) for epoch in range(200)])
        assert cells.labels[drawn].mean() == pytest.approx(0.5, abs=0.015)

    def test_an_unknown_mode_is_refused(self, cells: Cells) -> None:
        with pytest.raises(UserError, match="mode 'heavy'"):
            balance("weighted", cells, mode="heavy")


class TestAugmentation:
    def test_no_change_gives_back_the_cell(self, cells: Cells) -> None:
        made = balance(
            "augmentation", cells, rotation=0.0, shift=0.0, shear=0.0, zoom=0.0, flip=False
        )
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
