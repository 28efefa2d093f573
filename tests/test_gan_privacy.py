"""A generator that hands out copies is caught, an honest one is not."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from leukemia.data.near_duplicates import TURNS
from leukemia.data.sample import draw_cells
from leukemia.gan import privacy, privacy_plot
from leukemia.gan.privacy import attack, examine, nearest, turned

LIMIT = 0.05


def features(images: np.ndarray) -> np.ndarray:
    """Rough features: mean and deviation of blocks of pixels."""
    blocks = images.reshape(len(images), 8, images.shape[1] // 8, 8, -1).astype(np.float32)
    blocks = blocks.transpose(0, 1, 3, 2, 4).reshape(len(images), 64, -1)
    return np.concatenate([blocks.mean(2), blocks.std(2)], 1)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Training cells, and other genuine ones of the same subjects."""
    images = draw_cells(320, seed=11, size=160, subjects=8).images
    small = np.stack([np.asarray(Image.fromarray(each).resize((64, 64))) for each in images])
    return small[:200], small[200:]


def jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=85)
    return np.asarray(Image.open(file))


DISGUISES = {
    "as it is": lambda image, rng: image,
    "turned": lambda image, rng: turned(image, int(rng.integers(8))),
    "noised": lambda image, rng: np.clip(image + rng.normal(0, 3, image.shape), 0, 255),
    "lightened": lambda image, rng: np.clip(image * 1.03, 0, 255),
    "compressed": lambda image, rng: jpeg(image),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_memorising_generator_is_caught(drawn, disguise):
    training, rng = drawn[0], np.random.default_rng(0)
    made = np.stack([DISGUISES[disguise](training[n], rng) for n in range(60)]).astype(np.uint8)
    found = examine(made, training, features)
    assert found.rate > 0.95
    assert not found.acceptable(LIMIT)
    assert (found.made.row == np.arange(60)).mean() > 0.95
    assert "are copies" in found.text


def test_an_honest_generator_passes(drawn):
    """Other genuine cells of the same subjects are the best that a generator can make."""
    training, fresh = drawn
    found = examine(fresh, training, features)
    assert found.rate < 0.03
    assert found.acceptable(LIMIT)


def test_a_blurred_generator_is_no_copyist(drawn):
    """The mean of many cells is near to all of them in pixels, and a copy of none."""
    training = drawn[0]
    rng = np.random.default_rng(1)
    blurred = np.stack([training[rng.choice(200, 12)].mean(0) for _ in range(60)])
    assert examine(blurred.astype(np.uint8), training, features).acceptable(LIMIT)


def test_copies_among_honest_cells_are_named(drawn):
    training, fresh = drawn
    made = np.concatenate([fresh[:80], training[:20]])
    found = examine(made, training, features)
    assert found.copies[80:].all()
    assert found.copies[:80].sum() <= 2
    assert not found.acceptable(LIMIT)
    assert found.acceptable(0.3)
    assert found.low < found.rate < found.high


@pytest.mark.parametrize("turn", range(8))
def test_each_of_the_eight_turns_is_recognised(drawn, turn):
    image = drawn[0][7]
    found = nearest(turned(image, turn)[None], image[None], features)
    assert found.turn.tolist() == [turn]
    assert found.pixels[0] < 0.5  # rounding of what is made smaller
    assert len({turned(image, each).tobytes() for each in range(len(TURNS))}) == 8


def test_the_distance_is_the_root_mean_square_difference():
    grey = np.full((2, 8, 8, 3), 100, np.uint8)
    other = grey[:1].copy()
    other[0, :4] += 6  # half of the pixels differ by 6
    found = nearest(other, grey, lambda images: np.zeros((len(images), 1)))
    assert found.pixels[0] == pytest.approx(np.sqrt(18))


def test_an_image_is_not_its_own_neighbour(drawn):
    some = drawn[0][:9]
    found = nearest(some, some, features, others=True)
    assert (found.row != np.arange(9)).all()
    assert (found.pixels > 0).all()


def test_the_attack_is_scikit_learns_area_and_its_interval_is_over_subjects():
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.4, 1, 60), rng.normal(0, 1, 80)
    found = attack(members, others, np.repeat(list("abcdef"), 10), np.repeat(list("ghijklmn"), 10))
    labels = np.repeat([1, 0], [60, 80])
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([members, others])))
    assert found.low < found.value < found.high
    assert found.subjects == 14


def test_scores_that_tell_nothing_leave_one_half_in_the_interval():
    rng = np.random.default_rng(3)
    found = attack(rng.normal(size=90), rng.normal(size=90), np.arange(90), np.arange(90, 180))
    assert found.low < 0.5 < found.high


def test_distance_tells_the_members_of_a_memorising_generator(drawn):
    training, fresh = drawn
    near = [privacy.nearness(images[:100], training[:100]) for images in (training, fresh)]
    names = np.arange(100)
    assert attack(near[0], near[1], names, 100 + names).value > 0.99


def test_the_figures_are_named_and_those_not_measured_are_left_out(drawn):
    training, fresh = drawn
    found = examine(fresh[:30], training, features)
    assert set(privacy.metrics(found)) == {
        "synth_copies", "synth_copy_rate", "synth_copy_rate_low", "synth_copy_rate_high",
    }  # fmt: skip
    told = attack(np.ones(4), np.zeros(4), np.arange(4), np.arange(4, 8))
    both = examine(fresh[:30], training, features, {"distance": told, "discriminator": told})
    assert privacy.metrics(both)["synth_attack_discriminator"] == 1


def test_the_picture_shows_pairs(drawn):
    training, fresh = drawn
    found = examine(fresh[:30], training, features)
    drawn_picture = privacy_plot.figure(found, fresh[:30], training, "drawn cells")
    assert drawn_picture.dtype == np.uint8
    assert drawn_picture.std() > 10
