"""Every backbone trains, answers, explains and saves as the service needs it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import applications
from keras.src.utils import file_utils

from leukemia.cells import Cells
from leukemia.contract import unchanged
from leukemia.errors import UserError
from leukemia.images import Images
from leukemia.model.backbones import BACKBONES, backbone_of
from leukemia.model.classifier import Classifier, ModelConfig, build, feature_model
from leukemia.model.fused import trainable_features
from leukemia.model.fusible import why_plain
from leukemia.model.grad_cam import grad_cam
from leukemia.model.inference import exact, in_batches
from leukemia.model.rows import batches, order_of_epoch, rows_of
from leukemia.model.training import compile_for, network_model

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32
# Parameters without top, as Keras' page of applications and the papers have them; EfficientNet-B1
# without the 7 of its input scaling.
PARAMETERS = {
    "resnet50": 23_587_712,
    "efficientnetb1": 6_575_232,
    "efficientnetv2b0": 5_919_312,
    "densenet121": 7_037_504,
    "convnexttiny": 27_820_128,
    "mobilenetv3large": 2_996_352,
    "miniature": 22_096,
}
FUSED = {"resnet50", "densenet121", "miniature"}
# The network and its scaling as Keras has them.
KERAS = {
    "resnet50": (applications.ResNet50, applications.resnet),
    "efficientnetb1": (applications.EfficientNetB1, applications.efficientnet),
    "efficientnetv2b0": (applications.EfficientNetV2B0, applications.efficientnet_v2),
    "densenet121": (applications.DenseNet121, applications.densenet),
    "convnexttiny": (applications.ConvNeXtTiny, applications.convnext),
    "mobilenetv3large": (applications.MobileNetV3Large, applications.mobilenet_v3),
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A classifier after a step of fine-tuning, and the paths of the weights that it left."""

    classifier: Classifier
    still: set[str]


@pytest.fixture(scope="module")
def few(cells: Cells) -> Cells:
    return cells.take(np.r_[:4, 86:90])


# What is built in other ways than these three is built, trained and saved by `make test-slow`.
ALWAYS = ("resnet50", "efficientnetv2b0", "miniature")
EACH = [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow) for name in BACKBONES]


@pytest.fixture(scope="module", params=EACH)
def from_scratch(request: pytest.FixtureRequest, few: Cells) -> Trained:
    config = ModelConfig(backbone=request.param, weights="none", size=SIDE, precision="float32")
    classifier = build(config, 0)
    for norm in norms(classifier):
        norm.momentum = 0.5  # in one step the statistics come to fit the cells
    return trained(classifier, few)


@pytest.fixture(scope="module")
def pretrained(
    from_scratch: Trained, few: Cells, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Fine-tuned from a file, as if it were pretrained."""
    path = tmp_path_factory.mktemp("weights") / "start.weights.h5"
    from_scratch.classifier.model.get_layer("backbone").save_weights(path)
    config = replace(from_scratch.classifier.config, weights=str(path))
    return trained(build(config, 0), few)


def trained(classifier: Classifier, cells: Cells) -> Trained:
    """One step as `fit` does it, but without a graph, which would take half a minute to trace."""
    before = weights_of(classifier)
    model, rows = network_model(classifier), rows_of(unchanged(cells))
    compile_for(model, None, rows.counts)
    model.optimizer.learning_rate = 1e-3
    model.run_eagerly = True
    model.fit(batches(rows, order_of_epoch(rows, 0, 1), len(cells)), shuffle=False, verbose=0)
    after = weights_of(classifier)
    still = {path for path in before if np.array_equal(before[path], after[path])}
    return Trained(classifier=classifier, still=still)


def plainly(model: keras.Model, images: Images) -> np.ndarray:
    """The answers, without a graph as well."""
    answers = keras.Model(model.inputs, model.outputs[0])([np.asarray(images)], training=False)
    return keras.ops.convert_to_numpy(answers)


def weights_of(classifier: Classifier) -> dict[str, np.ndarray]:
    return {weight.path: np.array(weight) for weight in classifier.model.weights}


def norms(classifier: Classifier) -> list[keras.layers.BatchNormalization]:
    steps = classifier.model.get_layer("backbone").layers
    return [step for step in steps if isinstance(step, keras.layers.BatchNormalization)]


def test_it_has_the_parameters_of_its_paper(from_scratch: Trained) -> None:
    backbone = from_scratch.classifier.model.get_layer("backbone")
    assert backbone.count_params() == PARAMETERS[from_scratch.classifier.config.backbone]


def test_from_scratch_every_weight_learns(from_scratch: Trained) -> None:
    assert from_scratch.still == set()


def test_pretrained_every_weight_learns_but_batch_norm(pretrained: Trained) -> None:
    kept = {weight.path for norm in norms(pretrained.classifier) for weight in norm.weights}
    assert pretrained.still == kept


def test_what_was_trained_is_what_is_kept(pretrained: Trained, few: Cells) -> None:
    """The fused network of those that have one; the note names what keeps the others from it."""
    classifier = pretrained.classifier
    fused = classifier.config.backbone in FUSED
    assert (why_plain(classifier.model.get_layer("backbone")) == "") == fused
    assert ("by plain Keras, in float32" in classifier.note) != fused
    below = plainly(trainable_features(classifier), few.images)
    expected = plainly(feature_model(classifier), few.images)
    assert expected.std(axis=0).max() > 0
    np.testing.assert_allclose(below, expected, atol=1e-5 * np.abs(expected).max())
    logits = plainly(network_model(classifier), few.images)
    kept = plainly(classifier.model, few.images)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), kept, atol=1e-5)


def test_openvino_answers_as_keras(pretrained: Trained, few: Cells) -> None:
    below = feature_model(pretrained.classifier)
    expected = plainly(below, few.images)
    found = in_batches(exact(below), few.images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_grad_cam_has_a_cell_s_size_and_lies_in_0_to_1(pretrained: Trained, few: Cells) -> None:
    maps = grad_cam(pretrained.classifier.model, few.images)
    assert maps.shape == (len(few), SIDE, SIDE)
    assert maps.min() >= 0
    assert 0 < maps.max() <= 1


def test_it_is_saved_and_loads_in_safe_mode(
    pretrained: Trained, few: Cells, tmp_path: Path
) -> None:
    model = pretrained.classifier.model
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(plainly(loaded, few.images), plainly(model, few.images))


def test_the_entry_of_the_document_trains(few: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "extending.md").read_text().split("## A backbone")[1]
    shown: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], shown)
    monkeypatch.setitem(BACKBONES, shown["VGG16"].name, shown["VGG16"])
    config = ModelConfig(backbone="vgg16", weights="none", size=SIDE, precision="float32")
    assert trained(build(config, 0), few).still == set()


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")  # MobileNetV3 is not at 224 px
@pytest.mark.parametrize("name", [each for each in EACH if each.values[0] in KERAS])
def test_keras_own_file_means_the_same_here(
    name: str, few: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name, address and hash, the layers that it is for, and the scaling that they expect."""
    network, module = KERAS[name]
    file = backbone_of(name).file
    assert file
    shape, path = (SIDE, SIDE, 3), tmp_path / "models" / file.name
    path.parent.mkdir()
    start = network(include_top=False, weights=None, input_shape=shape)
    _as_published(start).save(path)
    asked = []

    def get_file(name: str, address: str, **settings: str) -> str:
        asked.append((name, address, settings["file_hash"]))
        return str(path)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    theirs = network(include_top=False, weights="imagenet", input_shape=shape)
    assert asked == [(file.name, file.folder + file.name, file.hash)]
    config = ModelConfig(backbone=name, weights="imagenet", size=SIDE)
    assert config.cached
    ours = build(config, 0)
    assert ours.weights == "imagenet"
    maps = theirs(module.preprocess_input(few.images.astype(np.float32)), training=False)
    expected = np.mean(maps, axis=(1, 2))
    found = plainly(feature_model(ours), few.images)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def _as_published(network: keras.Model) -> keras.Model:
    """EfficientNet's file has ImageNet's mean, and its deviation in place of its variance."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights(
                list(map(np.array, ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 0)))
            )
    return network


def test_the_network_has_no_scaling_of_its_own(from_scratch: Trained) -> None:
    """So that `unit` is [0, 1] at the first convolution."""
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    backbone = from_scratch.classifier.model.get_layer("backbone")
    assert not any(isinstance(step, kinds) for step in backbone.operations)


@pytest.mark.parametrize("name", BACKBONES)
def test_cells_that_are_too_small_are_refused(name: str) -> None:
    small = backbone_of(name).smallest - 1
    with pytest.raises(UserError, match=f"cells of {small} px are too small for backbone '{name}'"):
        build(ModelConfig(backbone=name, weights="none", size=small), 0)
