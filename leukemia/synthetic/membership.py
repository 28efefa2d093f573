"""Can one tell which cells a generator was trained on, or synthetic cells were made of?

Sources: Chen et al. 2020 (arXiv 1909.03935; by distance), Hayes et al. 2019 (arXiv 1705.07663; by
discriminator).
"""

import numpy as np
from scipy.stats import rankdata

from leukemia.evaluation.intervals import Interval, interval
from leukemia.evaluation.predictions import Predictions
from leukemia.images import Images
from leukemia.synthetic.copies import candidates


def attack(
    members: np.ndarray, others: np.ndarray, member_of: np.ndarray, other_of: np.ndarray
) -> Interval:
    """The area under the ROC curve of telling members from others by a score, the higher the
    more like a member, with its interval over the subjects `member_of` and `other_of`.

    If the others are of other subjects than the members, it can leave 0.5 without any
    memorising: subjects differ.
    """
    scores = rankdata(np.concatenate([members, others]))
    names = np.concatenate([member_of, other_of]).astype(str)
    labels = np.repeat(np.array([1, 0], np.int8), [len(members), len(others)])
    scaled = (scores / (len(scores) + 1)).astype(np.float32)
    predictions = Predictions(
        labels=labels, scores=scaled, subjects=names, cell_id=np.arange(len(names)).astype(str)
    )
    return interval([[predictions]], "auroc")


def nearness(images: Images, made: Images) -> np.ndarray:
    """(n,) the correlation with the made image that is most alike: an attack's score."""
    return candidates(images, made, None, 1).correlation[:, 0]


def metrics(name: str, told: Interval) -> dict[str, float]:
    """The figures of an attack by metric name."""
    return {
        f"synth_attack_{name}": told.value,
        f"synth_attack_{name}_lo": told.low,
        f"synth_attack_{name}_hi": told.high,
    }
