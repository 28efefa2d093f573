"""Whatever adds cells is reviewed alike, by the experiment and not by itself."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.contract import TechniqueContext, TrainingSet, with_synthetic
from leukemia.data.sample import draw_cells
from leukemia.errors import UserError
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import prepare
from leukemia.experiment.run import Outcome, run
from leukemia.images import Images
from leukemia.model.classifier import ModelConfig, build
from leukemia.synthetic import review as synthetic_review
from leukemia.synthetic.fixed_features import fixed_features
from leukemia.synthetic.review import Kind, Review, review
from tests.conftest import ROOT, write_table

SMALL = {"gan_size": 32, "gan_epochs": 1, "gan_batch": 16, "gan_precision": "float32"}
ADDING = ("adasyn", "augmentation", "dcgan", "duplicates")
ALWAYS = {
    "synth_measured", "synth_copies", "synth_copy_rate", "synth_copy_rate_lo",
    "synth_copy_rate_hi", "synth_copy_limit", "floor_copy_rate",
    *(f"synth_probe_{view}{end}" for view in ("raw", "low", "high") for end in ("", "_lo", "_hi")),
    "synth_trace_power", "synth_trace_black_real", "synth_trace_black_made",
    "synth_attack_distance", "synth_attack_distance_lo", "synth_attack_distance_hi",
    *(f"{what}_{name}" for what in ("synth", "floor") for name in (
        "kid", "kid_lo", "kid_hi", "fid", "precision", "recall", "density", "coverage")),
}  # fmt: skip
FILES = {"review/copies.png", "review/review.txt", "review/shortcut.png"}


@pytest.fixture(scope="module")
def table_of_cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 drawn cells of 32 px, 100 ALL and 50 HEM, of 24 subjects."""
    folder = tmp_path_factory.mktemp("reviewed")
    drawn = draw_cells(150, seed=4, size=160, subjects=24)
    small = [np.asarray(Image.fromarray(image).resize((32, 32))) for image in drawn.images]
    write_table(folder, replace(drawn, images=np.stack(small)))
    return folder


@pytest.fixture(scope="module", autouse=True)
def dropped_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example technique that adds cells, as a file dropped into a folder of techniques."""
    folder = tmp_path_factory.mktemp("techniques")
    for file in (ROOT / "leukemia/techniques").glob("*.py"):
        shutil.copy(file, folder)
    shutil.copy(ROOT / "tests/examples/duplicates.py", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(techniques, "__file__", str(folder / "__init__.py"))
        patch.setattr(techniques, "__path__", [*techniques.__path__, str(folder)])
        techniques.names.cache_clear()
        yield
    techniques.names.cache_clear()


@pytest.fixture(scope="module")
def outcomes(table_of_cells: Path) -> dict[str, Outcome]:
    """One experiment of each technique that adds cells, and of the baseline."""
    return {name: outcome_of(name, table_of_cells) for name in (*ADDING, "baseline")}


def outcome_of(technique: str, data: Path, **changed: object) -> Outcome:
    given: dict[str, object] = {
        "technique": technique, "data": str(data), "positive": "blast", "folds": 3,
        "budget": "quick", "image_size": 32, "crop": 0, "scaling": "imagenet",
        "backbone": "miniature", "backbone_weights": "none", "precision": "float32",
        "batch_size": 16, "settings": SMALL if technique == "dcgan" else {},
    }  # fmt: skip
    experiment, cells = prepare(ExperimentOptions(**given | changed), data / "cache")  # type: ignore[arg-type]
    return run(experiment, cells)


@pytest.mark.parametrize("name", ADDING)
def test_a_technique_that_adds_cells_is_measured_under_the_same_names(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    made = outcomes[name].training_set
    own = {each for each in made.metrics if each.startswith("synth_attack_discriminator")}
    assert set(made.metrics) - own == ALWAYS
    assert set(made.files) >= FILES
    assert np.isfinite(made.metrics["synth_probe_raw"])
    # ADASYN's few blends here all share a subject: there is no pair to measure a distance on.
    assert np.isfinite(made.metrics["synth_kid"]) == (name != "adasyn")


def test_the_review_has_a_cost_of_its_own(outcomes: dict[str, Outcome]) -> None:
    assert all(outcomes[name].costs["review_s"] > 0.01 for name in ADDING)
    assert outcomes["baseline"].costs["review_s"] < 0.1


def test_what_adds_no_cells_is_not_reviewed(outcomes: dict[str, Outcome]) -> None:
    made = outcomes["baseline"].training_set
    assert not made.metrics
    assert not made.files
    assert not made.notes


def test_copies_are_counted_everywhere_and_refused_where_a_technique_asks(
    outcomes: dict[str, Outcome],
) -> None:
    """Duplicates are copies, every one, and are what that technique makes."""
    assert outcomes["duplicates"].training_set.metrics["synth_copy_rate"] == 1
    assert not outcomes["duplicates"].audit.blocking
    assert outcomes["duplicates"].training_set.cells.shortage() == 0


def test_a_network_from_scratch_measures_nothing(
    outcomes: dict[str, Outcome], table_of_cells: Path, tmp_path: Path
) -> None:
    for name in ADDING:
        notes = outcomes[name].training_set.notes
        assert notes["review_features"] == "fixed features"
        assert "distances in fixed features" in notes["review"]
    weights = tmp_path / "miniature.weights.h5"
    untrained = build(ModelConfig(backbone="miniature", weights="none", size=32), 9)
    untrained.model.get_layer("backbone").save_weights(weights)
    trained = outcome_of("duplicates", table_of_cells, backbone_weights=str(weights))
    notes = trained.training_set.notes
    assert notes["review_features"] == "miniature, weights miniature.weights.h5"
    scratch = outcomes["duplicates"].training_set.metrics
    assert trained.training_set.metrics["synth_kid"] != scratch["synth_kid"]


def test_floors_are_of_as_many_cells_as_the_synthetic_ones(outcomes: dict[str, Outcome]) -> None:
    for name in ADDING:
        made = outcomes[name].training_set
        real = ~made.synthetic & (made.cells.labels == 0)
        assert made.metrics["synth_measured"] == min(made.synthetic.sum(), real.sum())


def copier(train: Cells, settings: object, context: TechniqueContext) -> TrainingSet:
    """Half of what it makes are copies, and it may have a tenth of them."""
    rarer = np.flatnonzero(train.labels == train.minority())
    copied = train.images[rarer[:10]]
    noise = np.random.default_rng(0).integers(0, 256, copied.shape, np.uint8)
    made = with_synthetic(train, np.concatenate([copied, noise]), "copier")
    return replace(made, most_copies=0.1)


def test_a_technique_that_may_not_copy_loses_its_copies_and_the_run_is_refused(
    table_of_cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(techniques.load("duplicates"), "balance", copier)
    outcome = outcome_of("duplicates", table_of_cells)
    made = outcome.training_set
    assert made.metrics["synth_copies"] == 10
    assert made.synthetic.sum() == 10
    assert [each.kind for each in outcome.audit.blocking] == ["copies"]


def test_the_thesis_protocol_measures_against_the_training_cells_and_says_so(
    table_of_cells: Path,
) -> None:
    made = outcome_of("augmentation", table_of_cells, protocol="thesis").training_set
    assert "the very training cells, because there are no others" in made.notes["review"]
    assert "floor_kid" not in made.metrics
    assert "synth_kid" in made.metrics


def images_of(cells: Cells, rows: np.ndarray) -> Kind:
    return Kind(images=cells.images[rows], subjects=cells.subjects[rows])


def reviewed(made: Kind, training: Kind, unseen: Kind | None, seed: int = 0) -> Review:
    return review(made, training, unseen, fixed_features, "fixed features", 0.05, "", seed)


def test_no_more_cells_of_a_kind_than_the_most_are_measured(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert synthetic_review.MOST == 500
    monkeypatch.setattr(synthetic_review, "MOST", 20)  # 500 take a minute
    seen: list[int] = []

    def counting(images: Images) -> np.ndarray:
        seen.append(len(images))
        return fixed_features(images)

    noise = np.random.default_rng(0).integers(0, 256, (33, 32, 32, 3), np.uint8)
    some = images_of(cells, np.arange(40))
    new = Kind(images=noise, subjects=None)
    measured = review(new, some, some, counting, "fixed features", None, "", 0)
    assert max(seen) == 20
    assert measured.metrics["synth_measured"] == 20
    assert len(measured.copies) == 33


def test_the_same_seed_gives_the_same_figures(cells: Cells) -> None:
    rare = np.flatnonzero(cells.labels == 1)
    made, training, unseen = (images_of(cells, each) for each in np.split(rare, 3))
    first, again = (reviewed(made, training, unseen) for _ in range(2))
    assert first.metrics == pytest.approx(again.metrics, nan_ok=True)


def test_a_single_synthetic_cell_is_searched_for_copies_too(cells: Cells) -> None:
    rare = np.flatnonzero(cells.labels == 1)
    one = images_of(cells, rare[:1])
    found = reviewed(one, images_of(cells, rare[:20]), images_of(cells, rare[20:40]))
    assert "synth_kid" not in found.metrics
    assert found.copies.tolist() == [True]
    assert found.refusal == ""  # of one cell the share is not surely above any limit


def test_fixed_features_are_what_they_are_called(cells: Cells) -> None:
    """The same for the same cells, of known meaning: means of the middle first."""
    features = fixed_features(cells.images[:5])
    assert features.shape == (5, 51)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, fixed_features(cells.images[:5]))
    flat = np.full((1, 40, 40, 3), (128, 192, 64), np.uint8)
    np.testing.assert_allclose(fixed_features(flat)[0, :6], [0, 1, -1, 0, 0, 0], atol=1e-6)
    lighter = np.clip(cells.images[:5].astype(int) + 32, 0, 255).astype(np.uint8)
    assert (fixed_features(lighter)[:, :3] > features[:, :3]).all()


def test_a_technique_that_breaks_its_contract_is_refused_before_the_review(
    table_of_cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(train: Cells, settings: object, context: TechniqueContext) -> TrainingSet:
        return replace(copier(train, settings, context), loss_weights=np.ones(3, np.float32))

    monkeypatch.setattr(techniques.load("duplicates"), "balance", short)
    with pytest.raises(UserError, match="3 weights"):
        outcome_of("duplicates", table_of_cells)
