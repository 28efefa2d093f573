"""A technique that hands out copies is caught, whatever they look like; an honest one is not."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift
from sklearn.metrics import roc_auc_score

from leukemia.data.near_duplicates import TURNS
from leukemia.data.sample import draw_cells
from leukemia.synthetic import copies, copies_plot, membership
from leukemia.synthetic.copies import Copies, examine, limit_of, turned

LIMIT = 0.05


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training cells with their subjects, and genuine ones of other subjects."""
    cells = draw_cells(320, seed=11, size=160, subjects=16)
    small = np.stack([np.asarray(Image.fromarray(each).resize((64, 64))) for each in cells.images])
    of = cells.subjects
    learned = np.isin(of, np.unique(of)[::2])
    return small[learned], of[learned], small[~learned]


def jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=85)
    return np.asarray(Image.open(file))


def moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tenth of the side each way, as `augmentation` may move it."""
    by = rng.choice([-6.4, 6.4], 2)
    here: np.ndarray = shift(image.astype(float), (*by, 0), order=1, mode="nearest")
    return here


DISGUISES = {
    "as it is": lambda image, rng: image,
    "turned": lambda image, rng: turned(image, int(rng.integers(8))),
    "moved by a tenth": moved,
    "20 grey levels lighter": lambda image, rng: np.clip(image.astype(int) + 20, 0, 255),
    "a quarter darker": lambda image, rng: image * 0.75,
    "noised": lambda image, rng: np.clip(image + rng.normal(0, 3, image.shape), 0, 255),
    "blurred": lambda image, rng: gaussian_filter(image.astype(float), (1, 1, 0)),
    "compressed": lambda image, rng: jpeg(image),
    "turned, moved and lighter": lambda image, rng: np.clip(
        moved(turned(image, int(rng.integers(8))), rng) + 20, 0, 255
    ),
}


@pytest.fixture(scope="module")
def disguised(drawn) -> Copies:
    """What is found among 40 copies in each disguise."""
    training, of, _ = drawn
    rng = np.random.default_rng(0)
    made = [wear(training[n], rng) for wear in DISGUISES.values() for n in range(40)]
    return examine(np.stack(made).astype(np.uint8), training, of, None)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_copies_are_seen(disguised: Copies, disguise: str) -> None:
    start = 40 * list(DISGUISES).index(disguise)
    assert disguised.copies[start : start + 40].mean() >= 0.95
    assert (disguised.made.row[start : start + 40] == np.arange(40)).mean() >= 0.95


def test_copies_are_told_and_refused(disguised: Copies) -> None:
    assert disguised.refusal(LIMIT)
    assert "are copies" in disguised.text


def test_genuine_cells_of_other_subjects_are_no_copies(drawn) -> None:
    training, of, fresh = drawn
    found = examine(fresh, training, of, fresh)
    assert found.rate <= 0.01
    assert found.alarms is not None
    assert found.alarms[0] <= 1
    assert not found.refusal(LIMIT)
    assert f"of {len(fresh)} genuine cells" in found.text


def test_genuine_cells_photographed_twice_are_seen_and_others_are_not(shared) -> None:
    """BCCD: the same white cell in two smears' pictures, and eighty that are there once."""
    folder = shared / "data/bccd/wbc"
    files = sorted(folder.iterdir())[::3][:81]
    images = np.stack([np.asarray(Image.open(each).convert("RGB")) for each in files])
    found = examine(images[:40], images[41:], np.arange(40), images[:40])
    assert found.rate <= 0.025


def test_the_mean_of_many_cells_is_near_all_of_them_and_a_copy_of_none(drawn) -> None:
    training, of, _ = drawn
    rng = np.random.default_rng(1)
    blurred = np.stack([training[rng.choice(100, 12)].mean(0) for _ in range(40)])
    assert not examine(blurred.astype(np.uint8), training, of, None).refusal(LIMIT)


def test_copies_among_honest_cells_are_named(drawn) -> None:
    training, of, fresh = drawn
    found = examine(np.concatenate([fresh[:80], training[:20]]), training, of, None)
    assert found.copies[80:].all()
    assert found.copies[:80].sum() <= 1
    assert found.refusal(LIMIT)
    assert not found.refusal(0.3)
    assert not found.refusal(None)
    assert found.low < found.rate < found.high


@pytest.mark.parametrize("turn", range(8))
def test_each_of_the_eight_turns_is_recognised(drawn, turn: int) -> None:
    training, of, _ = drawn
    found = examine(turned(training[7], turn)[None], training[:20], of[:20], None)
    assert found.made.row.tolist() == [7]
    assert found.made.turn.tolist() == [turn]
    assert found.made.correlation[0] > 0.999
    assert len({turned(training[7], each).tobytes() for each in range(len(TURNS))}) == 8


def test_the_limit_lies_above_what_genuine_cells_reach() -> None:
    assert limit_of(np.zeros(0)) == 0.9
    assert limit_of(np.full(50, 0.4)) == 0.9
    few = np.linspace(0.5, 0.95, 100)
    assert limit_of(few) > 0.95  # none of so few is surely beyond 99 %
    many = np.linspace(0.9, 1, 2000)
    assert np.quantile(many, 0.99) <= limit_of(many) < 1
    assert (many >= limit_of(many)).mean() <= 0.01


def test_cells_of_one_subject_have_the_limit_that_holds_anywhere(drawn) -> None:
    training, _, fresh = drawn
    found = examine(fresh[:9], training[:30], np.repeat("one", 30), None)
    assert len(found.genuine) == 0
    assert found.limit == copies.LEAST


def test_blank_images_are_copies_of_nothing() -> None:
    blank = np.zeros((5, 32, 32, 3), np.uint8)
    assert examine(blank, blank, np.array(list("abcde")), blank).rate == 0


def test_the_attack_is_scikit_learns_area_and_its_interval_is_over_subjects() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.4, 1, 60), rng.normal(0, 1, 80)
    names = np.repeat(list("abcdef"), 10), np.repeat(list("ghijklmn"), 10)
    found = membership.attack(members, others, *names)
    labels = np.repeat([1, 0], [60, 80])
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([members, others])))
    assert found.low < found.value < found.high
    assert found.subjects == 14


def test_scores_that_tell_nothing_leave_one_half_in_the_interval() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=90), rng.normal(size=90)
    found = membership.attack(*scores, np.arange(90), np.arange(90, 180))
    assert found.low < 0.5 < found.high


def test_nearness_tells_the_members_of_a_memorising_generator(drawn) -> None:
    training, _, fresh = drawn
    near = [membership.nearness(images[:80], training[:80]) for images in (training, fresh)]
    names = np.arange(80)
    assert membership.attack(near[0], near[1], names, 100 + names).value > 0.99


def test_the_figures_are_named_and_those_not_measured_are_left_out(drawn) -> None:
    training, of, fresh = drawn
    told = {
        "synth_copies", "synth_copy_rate", "synth_copy_rate_lo", "synth_copy_rate_hi",
        "synth_copy_limit",
    }  # fmt: skip
    assert set(copies.metrics(examine(fresh[:9], training[:20], of[:20], None))) == told
    both = examine(fresh[:9], training[:20], of[:20], fresh[9:20])
    assert set(copies.metrics(both)) == told | {"floor_copy_rate"}


def test_the_picture_shows_pairs(drawn) -> None:
    training, of, fresh = drawn
    found = examine(fresh[:30], training, of, fresh[:30])
    picture = copies_plot.figure(found, fresh[:30], training, "drawn cells")
    assert picture.dtype == np.uint8
    assert picture.std() > 10
