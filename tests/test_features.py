"""Features of a frozen network: those that were kept are those that it gives."""

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leukemia.errors import UserError
from leukemia.model.classifier import ModelConfig, build, feature_model
from leukemia.model.features import Features
from leukemia.model.inference import in_batches, predict

# Keras and OpenVINO add up in different orders; features are about 10.
NEAR: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def noise(n: int = 40, side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "backbone.weights.h5"
    model = build(ModelConfig(backbone="miniature", weights="none", size=32), 3).model
    model.get_layer("backbone").save_weights(path)
    return path


def pretrained(weights: Path, scaling: str = "imagenet"):
    return build(
        ModelConfig(backbone="miniature", weights=str(weights), scaling=scaling, size=32), 0
    )


def plainly(weights: Path, images: np.ndarray) -> np.ndarray:
    return predict(feature_model(pretrained(weights)), images)


def counting(features: Features, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the network is given from now on."""
    given = []

    def spied(answer, images, progress=None):
        given.append(len(images))
        return in_batches(answer, images, progress)

    monkeypatch.setattr("leukemia.model.features.in_batches", spied)
    return given


def test_kept_features_are_those_of_the_network_and_it_is_not_asked_again(
    weights, tmp_path, monkeypatch
):
    images = noise()
    Features(pretrained(weights), 1, tmp_path).keep(images[::2])
    again = Features(pretrained(weights), 1, tmp_path)  # as another run would
    given = counting(again, monkeypatch)
    again.keep(images[::2])
    np.testing.assert_allclose(again(images[::2]), plainly(weights, images)[::2], **NEAR)
    assert given == []
    np.testing.assert_allclose(again(images), plainly(weights, images), **NEAR)
    assert given == [20]


def test_an_image_is_known_by_its_pixels_wherever_it_stands(weights, tmp_path):
    images = noise()
    features = Features(pretrained(weights), 1, tmp_path)
    features.keep(images)
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(features(images[order]), features(images)[order])
    changed = images.copy()
    changed[7, 0, 0, 0] ^= 1
    assert (features(changed)[7] != features(images)[7]).any()


def test_another_network_scaling_or_number_of_threads_has_features_of_its_own(weights, tmp_path):
    Features(pretrained(weights), 1, tmp_path).keep(noise())
    Features(pretrained(weights, "unit"), 1, tmp_path).keep(noise())
    Features(pretrained(weights), 2, tmp_path).keep(noise())
    other = pretrained(weights)
    kernel = other.model.get_layer("backbone").weights[0]
    kernel.assign(kernel + 0.01)
    Features(other, 1, tmp_path).keep(noise())
    assert len(list((tmp_path / "features").glob("*.sqlite"))) == 4


def test_the_head_plays_no_part(weights, tmp_path):
    for seed in (0, 1):
        Features(
            build(ModelConfig(backbone="miniature", weights=str(weights), size=32), seed),
            1,
            tmp_path,
        ).keep(noise())
    assert len(list((tmp_path / "features").glob("*.sqlite"))) == 1


def test_a_network_from_scratch_is_not_kept(tmp_path):
    classifier = build(ModelConfig(backbone="miniature", weights="none", size=32), 0)
    features = Features(classifier, 1, tmp_path)
    features.keep(noise())
    assert list(tmp_path.iterdir()) == []
    expected = predict(feature_model(classifier), noise())
    np.testing.assert_allclose(features(noise()), expected, **NEAR)


def test_what_a_killed_run_has_kept_is_not_computed_again(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("leukemia.model.features.AT_ONCE", 8)

    def stop(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Features(pretrained(weights), 1, tmp_path).keep(noise(), stop)
    again = Features(pretrained(weights), 1, tmp_path)
    given = counting(again, monkeypatch)
    again.keep(noise())
    assert sum(given) == 40 - 24


def test_a_damaged_file_is_named_with_what_to_do(weights, tmp_path):
    features = Features(pretrained(weights), 1, tmp_path)
    features.keep(noise(4))
    (path,) = (tmp_path / "features").glob("*.sqlite")
    path.write_bytes(b"no data base" * 100)
    with pytest.raises(UserError, match=r"sqlite: .*remove the file: features are then computed"):
        features.keep(noise(4))


def test_two_runs_that_keep_the_same_at_once_lose_nothing_and_compute_nothing_twice(
    weights, tmp_path, monkeypatch
):
    first, second = (Features(pretrained(weights), 1, tmp_path) for _ in range(2))
    given = counting(first, monkeypatch)
    monkeypatch.setattr("leukemia.model.features.AT_ONCE", 8)
    with ThreadPoolExecutor(1) as other:
        asked: list[Future[None]] = []

        def begun(done: float) -> None:
            if not asked:
                asked.append(other.submit(second.keep, noise(60)))

        first.keep(noise(), begun)
        asked[0].result()
    (path,) = (tmp_path / "features").glob("*.sqlite")
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT count(*) FROM features").fetchone() == (60,)
    assert sum(given) == 60
