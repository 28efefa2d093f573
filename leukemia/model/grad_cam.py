"""Where a classifier looked: Grad-CAM, and which cells are worth looking at.

A map says which places spoke for the call, not that they are the reason a person would give.
"""

from collections.abc import Callable

import keras
import numpy as np

from leukemia.evaluation.predictions import THRESHOLD, Predictions
from leukemia.images import Images
from leukemia.model.inference import PREDICT_BATCH, predict


def grad_cam(model: keras.Model, images: Images, threshold: float = THRESHOLD) -> np.ndarray:
    """Grad-CAM of each cell for the class that it is called: (n, S, S) float32 in [0, 1].

    1 is the cell's own strongest place, so two cells' maps cannot be compared in height; all
    0 where no place speaks for the call (the bias alone decides). The map is as coarse as
    `resolution` says and is drawn larger by bilinear blending.

    images: (n, S, S, 3) uint8. threshold: the probability from which a cell is called positive.
    A cell that is called negative is explained by the negative of its logit. The head averages
    the maps and weighs them once, so that the gradient of the logit is the weight itself over the
    number of places, and no tape is needed.
    Source: Selvaraju et al. 2017, section 3 (there shown to equal CAM, Zhou et al. 2016).
    """
    return grad_cam_of(model, threshold)(images)


def grad_cam_of(model: keras.Model, threshold: float = THRESHOLD) -> Callable[[Images], np.ndarray]:
    """`grad_cam` of one model, for many calls: the first takes seconds, as with any network."""
    maps_of = keras.Model(model.inputs, model.get_layer("features").input)
    weights, bias = (np.asarray(w) for w in model.get_layer("probability").get_weights())

    with np.errstate(divide="ignore"):  # nothing reaches a threshold above 1, everything one of 0
        least = float(np.log(max(threshold, 0)) - np.log(max(1 - threshold, 0)))

    def maps(images: Images) -> np.ndarray:
        """The map of each image."""
        # ResNet-50 makes 400 kB of maps for a cell of 210 px: a batch at a time.
        batches = [
            _called_class(
                predict(maps_of, images[start : start + PREDICT_BATCH]), weights, bias, least
            )
            for start in range(0, len(images), PREDICT_BATCH)
        ]
        coarse = np.concatenate(batches)
        highest = coarse.max(axis=(1, 2), keepdims=True)
        shares = np.divide(coarse, highest, out=np.zeros_like(coarse), where=highest > 0)
        large = keras.ops.image.resize(shares[..., None], images.shape[1:3], "bilinear")
        heat: np.ndarray = keras.ops.convert_to_numpy(large)[..., 0]
        return heat

    return maps


def resolution(model: keras.Model) -> tuple[int, int]:
    """Rows and columns of the map before it is drawn larger: 7 x 7 for ResNet-50 at 210 px."""
    rows, columns = model.get_layer("features").input.shape[1:3]
    return rows, columns


def choose(predictions: Predictions, k: int = 8) -> np.ndarray:
    """(k,) int: the rows of the most confidently wrong and right cells, the wrong ones first.

    As many of each class and of each outcome as there are; where one runs short, the next
    most confident of the others stand in. Equal scores go by row. Fewer than k if there are
    not as many cells.
    """
    right = predictions.right
    group = 2 * right + (predictions.labels == 0)  # wrong positive, wrong negative, right ...
    unsure = -np.abs(predictions.scores.astype(np.float64) - predictions.threshold)
    place = np.empty(len(predictions), int)  # of each cell in its group
    for number in range(4):
        rows = np.flatnonzero(group == number)
        place[rows[np.argsort(unsure[rows], kind="stable")]] = np.arange(len(rows))
    chosen = np.lexsort((group, place))[:k]
    return chosen[np.lexsort((place[chosen], group[chosen] // 2))]


def _called_class(
    maps: np.ndarray, weights: np.ndarray, bias: np.ndarray, least: float
) -> np.ndarray:
    """(n, h, w) float32: what each place adds to the logit of the called class, or 0.

    maps (n, h, w, c), weights (c, 1), bias (1,). least: the logit from which a cell is positive.
    """
    of_place = (maps @ weights)[..., 0]
    positive = of_place.mean(axis=(1, 2)) + bias >= least
    coarse: np.ndarray = np.maximum(np.where(positive[:, None, None], of_place, -of_place), 0)
    return coarse
